/**
 * Tokenizers, corpus readers, the indexed dataset, blending and sampling. Pure Java, no tensors.
 */
@NullMarked
package org.eellm.data;

import org.jspecify.annotations.NullMarked;
