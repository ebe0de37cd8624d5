package org.eellm.train.objective;

import java.util.Arrays;
import org.eellm.data.SampleSource;

/**
 * Sequences that go through the model together.
 *
 * @param batch b
 * @param sequence s
 * @param inputs token ids, [b s]
 * @param targets the token after each input, [b s]
 * @param lossMask weight of each position in the mean loss, 1 or 0, [b s]
 */
public record Microbatch(int batch, int sequence, int[] inputs, int[] targets, float[] lossMask) {
  public Microbatch {
    int count = batch * sequence;
    if (inputs.length != count || targets.length != count || lossMask.length != count) {
      throw new IllegalArgumentException(
          "a microbatch of %d x %d needs %d inputs, targets and mask entries, not %d, %d, %d"
              .formatted(batch, sequence, count, inputs.length, targets.length, lossMask.length));
    }
  }

  /**
   * Consecutive samples, every position of which counts.
   *
   * @param first index of the first sample
   * @param batch number of samples
   */
  public static Microbatch of(SampleSource samples, long first, int batch) {
    int sequence = samples.sequenceLength();
    int[] tokens = samples.samples(first, batch);
    int[] inputs = new int[batch * sequence];
    int[] targets = new int[batch * sequence];
    for (int row = 0; row < batch; row++) {
      System.arraycopy(tokens, row * (sequence + 1), inputs, row * sequence, sequence);
      System.arraycopy(tokens, row * (sequence + 1) + 1, targets, row * sequence, sequence);
    }
    float[] lossMask = new float[batch * sequence];
    Arrays.fill(lossMask, 1);
    return new Microbatch(batch, sequence, inputs, targets, lossMask);
  }
}
