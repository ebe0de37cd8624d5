package org.eellm.model;

import org.bytedeco.pytorch.Tensor;

/**
 * A named parameter, or the part of it that a rank holds.
 *
 * @param name in the Hugging Face scheme, {@code exits.{n}.*} for exit heads
 * @param shape of the part here
 * @param wholeShape of the whole parameter; the same with one tensor-parallel rank
 * @param split how the part was cut from the whole
 * @param offset of its first element in the flat buffers
 * @param value view into the model's flat buffer of compute weights
 */
public record Parameter(
    String name, long[] shape, long[] wholeShape, Split split, long offset, Tensor value) {

  /** Number of elements of the part here. */
  public long numel() {
    return value.numel();
  }

  /**
   * This parameter's part of another flat buffer with the same layout (gradients, master weights,
   * moments).
   */
  public Tensor of(Tensor flat) {
    return flat.narrow(0, offset, numel()).view(shape);
  }
}
