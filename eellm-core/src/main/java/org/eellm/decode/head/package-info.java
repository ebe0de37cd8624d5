/** Predictions of output heads: of all ids, or of a short list and some more. */
@NullMarked
package org.eellm.decode.head;

import org.jspecify.annotations.NullMarked;
