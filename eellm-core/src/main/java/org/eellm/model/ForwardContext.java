package org.eellm.model;

import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.eellm.tensor.Tensors;

/**
 * What the branches need to know of a batch of whole sequences that goes through the model in
 * training or evaluation.
 *
 * @param batch b, sequences
 * @param sequence s, tokens of each
 * @param causalMask 0 where a query may look, minus infinity elsewhere, [s, s] in the compute
 *     format
 * @param angles rotations of positions 0 to s - 1, with rotary positions
 * @param dropout none in evaluation
 * @param recomputeAttention attention probabilities are not kept but computed again in backward
 *     (selective recompute)
 * @param parallel the ranks that share the matrices
 */
public record ForwardContext(
    long batch,
    long sequence,
    Tensor causalMask,
    Optional<Rope.Angles> angles,
    Dropout dropout,
    boolean recomputeAttention,
    TensorParallel parallel) {

  /** The same with another number of sequences. */
  public ForwardContext withBatch(long count) {
    return new ForwardContext(
        count, sequence, causalMask, angles, dropout, recomputeAttention, parallel);
  }

  /**
   * Dropout's factors for the rows of the stream that are here, [local rows, width], or nothing
   * where nothing is dropped. All ranks draw for all rows, so that what is dropped does not depend
   * on their number.
   *
   * @param x of the shape and format wanted
   */
  Optional<Tensor> rowMask(Tensor x, double probability, long site) {
    if (!(dropout instanceof Dropout.Keyed keyed) || probability == 0) {
      return Optional.empty();
    }
    Tensor all = keyed.factors(probability, site, batch * sequence, x.size(1));
    return Optional.of(parallel.localRows(all).to(x.device(), Tensors.scalarType(x)));
  }

  /**
   * Dropout's factors for the attention probabilities of this rank's heads, likewise.
   *
   * @param x of the shape and format wanted, [b K, rows, columns]
   */
  Optional<Tensor> headMask(Tensor x, double probability, long site) {
    if (!(dropout instanceof Dropout.Keyed keyed) || probability == 0) {
      return Optional.empty();
    }
    long heads = x.size(0) / batch;
    Tensor all =
        keyed.factors(probability, site, batch, heads * parallel.size(), x.size(1), x.size(2));
    Tensor here = all.narrow(1, heads * parallel.rank(), heads);
    return Optional.of(here.reshape(x.sizes()).to(x.device(), Tensors.scalarType(x)));
  }
}
