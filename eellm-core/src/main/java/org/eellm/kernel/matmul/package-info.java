/**
 * Products of activation rows and packed matrices, in every weight format, and the code that runs
 * them.
 */
@NullMarked
package org.eellm.kernel.matmul;

import org.jspecify.annotations.NullMarked;
