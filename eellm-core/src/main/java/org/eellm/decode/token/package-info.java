/** Predictions of heads, generated tokens, and their text. */
@NullMarked
package org.eellm.decode.token;

import org.jspecify.annotations.NullMarked;
