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
 * @param starts the first position that each input sees, [b s]: 0, or where its document begins
 */
public record Microbatch(
    int batch, int sequence, int[] inputs, int[] targets, float[] lossMask, int[] starts) {
  public Microbatch {
    int count = batch * sequence;
    require(inputs.length, count, "inputs");
    require(targets.length, count, "targets");
    require(lossMask.length, count, "mask entries");
    require(starts.length, count, "starts");
  }

  private static void require(int given, int count, String what) {
    if (given != count) {
      throw new IllegalArgumentException(
          "a microbatch of %d tokens has %d %s".formatted(count, given, what));
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
    int[] starts = new int[batch * sequence];
    samples.documentEnd().ifPresent(end -> findStarts(inputs, sequence, end, starts));
    return new Microbatch(batch, sequence, inputs, targets, lossMask, starts);
  }

  private static void findStarts(int[] inputs, int sequence, int documentEnd, int[] starts) {
    for (int i = 0; i < inputs.length; i++) {
      int position = i % sequence;
      if (position > 0) {
        starts[i] = inputs[i - 1] == documentEnd ? position : starts[i - 1];
      }
    }
  }
}
