package org.eellm.data;

import java.util.OptionalInt;

/**
 * Samples of a model's training data: an endless row, any of which is found from its index alone.
 * So a run that is resumed sees exactly what it would have seen, and every rank of a distributed
 * run takes its own samples without asking the others.
 *
 * <p>A sample is {@code sequenceLength + 1} tokens: all but the last are the input, all but the
 * first are the targets. May be shared by threads.
 */
public interface SampleSource {
  /** Tokens that the loss sees in a sample. */
  int sequenceLength();

  /** How many samples show nearly every token once. */
  long samplesPerEpoch();

  /**
   * Copies a sample.
   *
   * @param index from 0
   * @param into gets {@code sequenceLength + 1} tokens from {@code offset} on
   * @throws DataException if a token is outside the model's vocabulary
   */
  void sample(long index, int[] into, int offset);

  /** The token that ends a document, where a token does not see those before its own. */
  default OptionalInt documentEnd() {
    return OptionalInt.empty();
  }

  /** Consecutive samples, one after the other: tokens {@code [count, sequenceLength + 1]}. */
  default int[] samples(long first, int count) {
    int width = sequenceLength() + 1;
    int[] tokens = new int[count * width];
    for (int i = 0; i < count; i++) {
      sample(first + i, tokens, i * width);
    }
    return tokens;
  }
}
