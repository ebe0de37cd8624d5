package org.eellm.model;

import org.bytedeco.pytorch.Tensor;

/** Where a block's keys and values go in generation, and how its queries meet them. */
public interface KeyValueCache {

  /**
   * Stores the block's keys and values and attends: each row to its own sequence's positions up to
   * its own, as far as the attention's window reaches.
   *
   * @param attentionIndex which attention: 0-based layer, or {@code numLayers + exit} for the block
   *     of the exit with that 0-based index
   * @param query rotated, multiplied by the attention's scale, [n, heads, headDim]
   * @param keyValue rotated keys of all heads, then the values, [n, 2 keyValueHeads, headDim]
   * @return [n, heads * headDim]
   */
  Tensor attend(int attentionIndex, Tensor query, Tensor keyValue);

  /** Stores the block's keys and values alone. */
  void store(int attentionIndex, Tensor keyValue);
}
