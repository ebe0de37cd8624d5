package org.eellm.checkpoint;

import org.bytedeco.pytorch.Tensor;
import org.eellm.model.parameter.Parameter;

/**
 * The part of a flat buffer that a rank keeps.
 *
 * @param buffer the optimizer's {@code master}, {@code exp_avg} or {@code exp_avg_sq}, in float32,
 *     or the model's {@code weights}
 * @param start its first element in the model's flat buffers
 * @param values [length]
 */
public record FlatStateShard(String buffer, long start, Tensor values) {

  /** The elements that a parameter's part has here; of length 0 or less where there are none. */
  record Overlap(long inParameter, long inPiece, long length) {}

  /** {@link Overlap} with a parameter. */
  Overlap overlap(Parameter parameter) {
    long from = Math.max(parameter.offset(), start);
    long to = Math.min(parameter.offset() + parameter.numel(), start + values.numel());
    return new Overlap(from - parameter.offset(), from - start, to - from);
  }
}
