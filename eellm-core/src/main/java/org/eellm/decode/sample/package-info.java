/** Samplers, penalties and masks over a prediction's logits. */
@NullMarked
package org.eellm.decode.sample;

import org.jspecify.annotations.NullMarked;
