/**
 * From text to token ids and back: byte-level, byte-pair and Hugging Face tokenizers, and training
 * of byte-pair ones.
 */
@NullMarked
package org.eellm.data.tokenizer;

import org.jspecify.annotations.NullMarked;
