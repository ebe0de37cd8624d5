/**
 * Arithmetic of a decoding pass over native memory: norms, rotations, paged attention, logits.
 * Knows addresses and numbers; no tensors, no models.
 */
@NullMarked
package org.eellm.kernel;

import org.jspecify.annotations.NullMarked;
