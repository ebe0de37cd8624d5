/**
 * The families of Hugging Face's models: what the fields of their configurations mean, and where
 * their tensors lie. A family is a {@link org.eellm.checkpoint.huggingface.family.Family}, made
 * once and used in both directions.
 */
@NullMarked
package org.eellm.checkpoint.huggingface.family;

import org.jspecify.annotations.NullMarked;
