/** Quality and speed over settings of decoding, and the forecast of what exits will gain. */
@NullMarked
package org.eellm.eval.sweep;

import org.jspecify.annotations.NullMarked;
