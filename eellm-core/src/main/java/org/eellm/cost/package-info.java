/**
 * Formulas for the costs of training and decoding: floating-point operations, bytes, memory and
 * collectives, from a configuration and the rates of a {@link org.eellm.cost.Hardware}. Pure Java,
 * no tensors.
 */
@NullMarked
package org.eellm.cost;

import org.jspecify.annotations.NullMarked;
