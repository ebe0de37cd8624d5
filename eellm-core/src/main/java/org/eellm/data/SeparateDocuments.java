package org.eellm.data;

import java.util.OptionalInt;

/**
 * Samples in which a token sees its own document alone, and not those before it (Megatron's {@code
 * --reset-attention-mask} and {@code --reset-position-ids}).
 *
 * @param samples in which they follow each other, all from sources with that end
 * @param end the token that ends every document
 */
public record SeparateDocuments(SampleSource samples, int end) implements SampleSource {
  @Override
  public int sequenceLength() {
    return samples.sequenceLength();
  }

  @Override
  public long samplesPerEpoch() {
    return samples.samplesPerEpoch();
  }

  @Override
  public void sample(long index, int[] into, int offset) {
    samples.sample(index, into, offset);
  }

  @Override
  public OptionalInt documentEnd() {
    return OptionalInt.of(end);
  }
}
