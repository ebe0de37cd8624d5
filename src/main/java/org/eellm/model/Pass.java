package org.eellm.model;

import java.util.Optional;
import org.bytedeco.pytorch.Tensor;

/**
 * What the branches need to know of a batch of whole sequences that goes through the model in
 * training or evaluation.
 *
 * @param batch b, sequences
 * @param sequence s, tokens of each
 * @param causalMask 0 where a query may look, minus infinity elsewhere, [s, s] in the compute
 *     format
 * @param angles rotations of positions 0 to s - 1, with rotary positions
 * @param dropout absent in evaluation
 * @param recomputeAttention attention probabilities are not kept but computed again in backward
 *     (selective recompute)
 */
public record Pass(
    long batch,
    long sequence,
    Tensor causalMask,
    Optional<Rope.Angles> angles,
    Optional<Dropout> dropout,
    boolean recomputeAttention) {

  /** The same with another number of sequences. */
  public Pass withBatch(long count) {
    return new Pass(count, sequence, causalMask, angles, dropout, recomputeAttention);
  }
}
