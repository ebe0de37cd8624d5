/**
 * Arithmetic over native memory: packed matrices and their products, norms, activations, paged
 * attention, and threads that stay in step. Knows addresses and numbers; no tensors, no models.
 */
@NullMarked
package org.eellm.kernel;

import org.jspecify.annotations.NullMarked;
