/** Strategies for a sequence's next token: early exit, speculation, scoring, beams. */
@NullMarked
package org.eellm.decode.strategy;

import org.jspecify.annotations.NullMarked;
