package org.eellm.model;

import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.tensor.Torch;
import org.eellm.tensor.kernel.KeyStarts;
import org.eellm.tensor.kernel.KeyedDropout;

/**
 * A batch of whole sequences in training or evaluation, as the branches see it.
 *
 * @param batch b, sequences
 * @param sequence s, tokens of each that are here
 * @param starts from which key on each of these tokens sees
 * @param angles rotations of their positions, in the types of layers that rotate heads
 * @param dropout none in evaluation
 * @param recomputeAttention attention probabilities are not kept but computed again in backward
 *     (selective recompute)
 * @param parallel the ranks that share the matrices
 * @param ring the ranks that share the sequences
 */
public record ForwardContext(
    long batch,
    long sequence,
    KeyStarts starts,
    Map<LayerType, Rope.Angles> angles,
    Dropout dropout,
    boolean recomputeAttention,
    TensorParallel parallel,
    ContextParallel ring) {

  /** The rotations in layers of a type, if heads are rotated there. */
  Optional<Rope.Angles> angles(LayerType type) {
    return Optional.ofNullable(angles.get(type));
  }

  /** Whether every token sees all before it in layers where it sees {@code window} of them. */
  boolean seesAll(int window) {
    return window >= wholeSequence() && starts instanceof KeyStarts.OfSequence;
  }

  /** From which key on each of these tokens sees in such layers. */
  KeyStarts starts(int window, Device device) {
    if (window >= wholeSequence()) {
      return starts;
    }
    Tensor positions =
        torch.arange(new Scalar(wholeSequence()), Torch.options(ScalarType.Long, device));
    Tensor first = ring.local(positions, 1).sub(new Scalar(window - 1L)).view(1, -1); // [1, s]
    return starts.notBefore(first);
  }

  private long wholeSequence() {
    return sequence * ring.size();
  }

  /** The context of some of the sequences, whose numbers are given, int64 [count]. */
  public ForwardContext ofSequences(Tensor numbers) {
    return new ForwardContext(
        numbers.size(0),
        sequence,
        starts.ofSequences(numbers),
        angles,
        dropout,
        recomputeAttention,
        parallel,
        ring);
  }

  /**
   * Dropout of the rows of the stream that are here, [local rows, width]; nothing where nothing is
   * dropped. Rows have the same numbers on every mesh, so that what is dropped does not depend on
   * the number of ranks.
   */
  Optional<KeyedDropout> ofRows(double probability, long site) {
    long all = batch * sequence;
    return keyed(probability, site, ring.place(parallel.firstRow(all), sequence));
  }

  /**
   * Consecutive queries, and keys that they may see, in a sequence.
   *
   * @param query the first's position
   * @param queries how many there are
   * @param key the first key's position
   */
  record Scores(long query, long queries, long key) {}

  /**
   * Dropout of attention probabilities, [b heads queries, keys], likewise.
   *
   * @param heads of this rank
   */
  Optional<KeyedDropout> ofHeads(long heads, Scores scores, double probability, long site) {
    long whole = wholeSequence();
    return keyed(
        probability,
        site,
        new KeyedDropout.Place(
            0,
            heads * parallel.rank() * whole + scores.query(),
            scores.queries(),
            whole,
            heads,
            heads * parallel.size() * whole,
            scores.key()));
  }

  private Optional<KeyedDropout> keyed(double probability, long site, KeyedDropout.Place place) {
    return dropout instanceof Dropout.Keyed keyed && probability > 0
        ? Optional.of(keyed.of(probability, site, place))
        : Optional.empty();
  }
}
