package org.eellm.model;

import org.bytedeco.pytorch.Tensor;

/** Where a block's keys and values go in generation, and how its queries meet them. */
public interface KeyValues {

  /**
   * Stores the block's keys and values and attends: each row to its own sequence's positions up to
   * its own.
   *
   * @param slot which attention: 0-based layer, or {@code numLayers + exit} for the block of the
   *     exit with that 0-based index
   * @param query [n, heads, headDim], multiplied by {@code 1 / sqrt(headDim)} already
   * @param key [n, keyValueHeads, headDim]
   * @param value [n, keyValueHeads, headDim]
   * @return [n, heads * headDim]
   */
  Tensor attend(int slot, Tensor query, Tensor key, Tensor value);
}
