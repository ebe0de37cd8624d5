/**
 * Models in Hugging Face's scheme and in GGUF files: configuration, names and layouts of tensors.
 */
@NullMarked
package org.eellm.checkpoint.huggingface;

import org.jspecify.annotations.NullMarked;
