package org.eellm.train.optimizer;

import org.bytedeco.pytorch.Tensor;
import org.eellm.model.parameter.Parameters;
import org.eellm.model.parameter.Weight;

/**
 * A range of the flat buffers.
 *
 * @param start its first element
 */
public record FlatRange(long start, long length) {

  /** The whole of a model's buffers. */
  public static FlatRange all(Parameters parameters) {
    return new FlatRange(0, parameters.flat().numel());
  }

  /** A weight's. */
  static FlatRange of(Weight weight) {
    return new FlatRange(weight.offset(), weight.value().numel());
  }

  /** The element after its last. */
  public long end() {
    return start + length;
  }

  /** The elements that are in both, of length 0 where there are none. */
  FlatRange common(FlatRange other) {
    long from = Math.max(start, other.start());
    return new FlatRange(from, Math.max(0, Math.min(end(), other.end()) - from));
  }

  /** This range in a buffer that begins with element {@code first}. */
  FlatRange from(long first) {
    return new FlatRange(start - first, length);
  }

  /** This range of a flat buffer, a view. */
  public Tensor of(Tensor flat) {
    return flat.narrow(0, start, length);
  }

  /** Rank {@code rank}'s share of {@code ranks} equal ones. */
  FlatRange share(int rank, int ranks) {
    return new FlatRange(start + length / ranks * rank, length / ranks);
  }
}
