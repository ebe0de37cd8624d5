package org.eellm.data;

import java.util.Arrays;
import java.util.stream.LongStream;

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

  /** Whether some targets are not counted. */
  default boolean isMasked() {
    return false;
  }

  /**
   * Tells which targets of a sample the loss counts.
   *
   * @param into gets {@code sequenceLength} weights, 1 or 0, from {@code offset} on
   */
  default void lossMask(long index, float[] into, int offset) {
    Arrays.fill(into, offset, offset + sequenceLength(), 1);
  }

  /** How many targets of a sample the loss counts. */
  default long counted(long index) {
    return sequenceLength();
  }

  /** How many targets of consecutive samples the loss counts. */
  default long counted(long first, int count) {
    return isMasked()
        ? LongStream.range(first, first + count).map(this::counted).sum()
        : (long) count * sequenceLength();
  }

  /**
   * Tells from which position on each input of a sample sees others: 0, or where its document
   * begins.
   *
   * @param inputs the sample's, from {@code offset} on
   * @param into gets {@code sequenceLength} positions from {@code offset} on; has zeros there
   */
  default void starts(long index, int[] inputs, int[] into, int offset) {}
}
