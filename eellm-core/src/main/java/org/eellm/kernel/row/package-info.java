/**
 * Operations on rows of numbers beside products and attention: norms, activations, rounding, logits
 * and sampling, by machine code or by the Vector API.
 */
@NullMarked
package org.eellm.kernel.row;

import org.jspecify.annotations.NullMarked;
