package org.eellm.train;

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
}
