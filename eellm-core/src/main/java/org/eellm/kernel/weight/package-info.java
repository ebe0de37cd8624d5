/**
 * Weight matrices as they are stored, and as they are packed for products: float32, bfloat16, and
 * groups of 8 or 4 bits.
 */
@NullMarked
package org.eellm.kernel.weight;

import org.jspecify.annotations.NullMarked;
