package org.eellm.train.objective;

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

  /** The mask's sum. */
  public double counted() {
    double sum = 0;
    for (float weight : lossMask) {
      sum += weight;
    }
    return sum;
  }

  /**
   * Consecutive samples.
   *
   * @param first index of the first sample
   * @param batch number of samples
   */
  public static Microbatch of(SampleSource samples, long first, int batch) {
    int sequence = samples.sequenceLength();
    int[] tokens = new int[sequence + 1];
    int[] inputs = new int[batch * sequence];
    int[] targets = new int[batch * sequence];
    float[] lossMask = new float[batch * sequence];
    int[] starts = new int[batch * sequence];
    for (int row = 0; row < batch; row++) { // all of a row at once, for a blend goes back slowly
      int at = row * sequence;
      samples.sample(first + row, tokens, 0);
      System.arraycopy(tokens, 0, inputs, at, sequence);
      System.arraycopy(tokens, 1, targets, at, sequence);
      samples.lossMask(first + row, lossMask, at);
      samples.starts(first + row, inputs, starts, at);
    }
    return new Microbatch(batch, sequence, inputs, targets, lossMask, starts);
  }
}
