/** Decoding over pipeline stages, one rank each. */
@NullMarked
package org.eellm.decode.stages;

import org.jspecify.annotations.NullMarked;
