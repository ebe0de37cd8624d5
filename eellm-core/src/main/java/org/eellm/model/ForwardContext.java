package org.eellm.model;

import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.eellm.tensor.kernel.KeyStarts;
import org.eellm.tensor.kernel.KeyedDropout;

/**
 * A batch of whole sequences in training or evaluation, as the branches see it.
 *
 * @param batch b, sequences
 * @param sequence s, tokens of each
 * @param starts from which key on each token sees
 * @param angles rotations of positions 0 to s - 1, with rotary positions
 * @param dropout none in evaluation
 * @param recomputeAttention attention probabilities are not kept but computed again in backward
 *     (selective recompute)
 * @param parallel the ranks that share the matrices
 */
public record ForwardContext(
    long batch,
    long sequence,
    KeyStarts starts,
    Optional<Rope.Angles> angles,
    Dropout dropout,
    boolean recomputeAttention,
    TensorParallel parallel) {

  /** The context of some of the sequences, whose numbers are given, int64 [count]. */
  public ForwardContext ofSequences(Tensor numbers) {
    return new ForwardContext(
        numbers.size(0),
        sequence,
        starts.ofSequences(numbers),
        angles,
        dropout,
        recomputeAttention,
        parallel);
  }

  /**
   * Dropout of the rows of the stream that are here, [local rows, width]; nothing where nothing is
   * dropped. Rows have the same numbers on every mesh, so that what is dropped does not depend on
   * the number of ranks.
   */
  Optional<KeyedDropout> ofRows(double probability, long site) {
    long all = batch * sequence;
    return keyed(
        probability, site, KeyedDropout.Rows.from(parallel.firstRow(all), parallel.localRows(all)));
  }

  /**
   * Dropout of the attention probabilities of this rank's heads, likewise.
   *
   * @param here rows of a sequence's heads that are here
   */
  Optional<KeyedDropout> ofHeads(long here, double probability, long site) {
    return keyed(
        probability,
        site,
        new KeyedDropout.Rows(here * parallel.rank(), here, here * parallel.size()));
  }

  private Optional<KeyedDropout> keyed(double probability, long site, KeyedDropout.Rows rows) {
    return dropout instanceof Dropout.Keyed keyed && probability > 0
        ? Optional.of(keyed.of(probability, site, rows))
        : Optional.empty();
  }
}
