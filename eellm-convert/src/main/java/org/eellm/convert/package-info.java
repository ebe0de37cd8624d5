/**
 * Checkpoints of other formats, read and written: Hugging Face, Megatron-LM, EE-LLM, PyTorch, GGUF.
 */
@NullMarked
package org.eellm.convert;

import org.jspecify.annotations.NullMarked;
