/** Safetensors, Hugging Face layout, training state; atomic writes. */
@NullMarked
package org.eellm.checkpoint;

import org.jspecify.annotations.NullMarked;
