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
 * @param learns whether it is in the flat buffers, as opposed to one that stays as it is
 * @param value view into a buffer of compute weights
 */
public record Parameter(
    String name,
    long[] shape,
    long[] wholeShape,
    Split split,
    boolean learns,
    long offset,
    Tensor value) {

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
