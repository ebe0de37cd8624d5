/**
 * Operations on rows of numbers beside products and attention: norms, activations, rounding, logits
 * and sampling, by machine code or in plain Java.
 */
@NullMarked
package org.eellm.kernel.row;

import org.jspecify.annotations.NullMarked;
