/**
 * llama.cpp's model files: a {@link org.eellm.gguf.GgufFile} is a header of named values and
 * tensors, of which some lie in blocks of quantised numbers ({@link org.eellm.gguf.GgufRows}), and
 * has a tokenizer in it ({@link org.eellm.gguf.GgufVocabulary}). Pure Java, no tensors.
 */
@NullMarked
package org.eellm.gguf;

import org.jspecify.annotations.NullMarked;
