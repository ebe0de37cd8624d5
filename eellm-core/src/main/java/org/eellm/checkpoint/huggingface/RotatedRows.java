package org.eellm.checkpoint.huggingface;

import org.bytedeco.pytorch.Tensor;
import org.eellm.checkpoint.huggingface.family.Place;
import org.eellm.config.ModelConfig;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/** Heads of other tools, which have the rows first that rope rotates, and ours. */
public final class RotatedRows {
  private RotatedRows() {}

  /**
   * Heads whose first dimensions rope rotates, with their rows in the order in which our rope finds
   * its pairs: elements j and j + D/2, of which the pairs beyond the rotated ones stay.
   *
   * @param heads [heads, D, ...]
   */
  public static Tensor pairHalves(Tensor heads, ModelConfig model) {
    return reordered(heads, Place.pairOrder(model));
  }

  /** The inverse of {@link #pairHalves}. */
  public static Tensor rotatedFirst(Tensor heads, ModelConfig model) {
    long[] order = Place.pairOrder(model);
    long[] inverse = new long[order.length];
    for (int j = 0; j < order.length; j++) {
      inverse[(int) order[j]] = j;
    }
    return reordered(heads, inverse);
  }

  private static Tensor reordered(Tensor heads, long[] order) {
    return heads.index_select(1, Tensors.ofLongs(order, Torch.cpu(), order.length));
  }
}
