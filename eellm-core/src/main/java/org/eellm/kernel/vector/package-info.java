/** Vectors of the processor's width, native memory, and rounding between number formats. */
@NullMarked
package org.eellm.kernel.vector;

import org.jspecify.annotations.NullMarked;
