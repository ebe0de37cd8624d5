package org.eellm.checkpoint;

import org.bytedeco.pytorch.Tensor;

/**
 * The part of one of the optimizer's buffers that a rank keeps.
 *
 * @param buffer {@code master}, {@code exp_avg} or {@code exp_avg_sq}
 * @param start its first element in the model's flat buffers
 * @param values float32, [length]
 */
public record FlatStateShard(String buffer, long start, Tensor values) {

  /** The element after its last. */
  long end() {
    return start + values.numel();
  }
}
