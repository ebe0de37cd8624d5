/**
 * What training and decoding cost, as formulas: floating-point operations, bytes, memory and
 * collectives, from a configuration and the rates of a {@link org.eellm.cost.Hardware}. Pure Java,
 * no tensors.
 */
@NullMarked
package org.eellm.cost;

import org.jspecify.annotations.NullMarked;
