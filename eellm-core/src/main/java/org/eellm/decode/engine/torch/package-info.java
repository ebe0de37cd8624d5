/** Passes by libtorch's operations, on any device. */
@NullMarked
package org.eellm.decode.engine.torch;

import org.jspecify.annotations.NullMarked;
