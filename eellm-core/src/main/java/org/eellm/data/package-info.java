/**
 * From text to training samples: a {@link org.eellm.data.corpus.Corpus} is turned by a {@link
 * org.eellm.data.tokenizer.Tokenizer} into an {@link org.eellm.data.IndexedDataset} ({@link
 * org.eellm.data.Preparation}), of which a {@link org.eellm.data.SampleSource} takes samples. Pure
 * Java, no tensors.
 */
@NullMarked
package org.eellm.data;

import org.jspecify.annotations.NullMarked;
