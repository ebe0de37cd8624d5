package org.eellm.model;

import org.bytedeco.pytorch.Tensor;

/**
 * What one operation multiplies with: a parameter, or several that lie one after another and act as
 * one matrix (query, key and value; gate and up).
 *
 * @param name of the first parameter
 * @param index position in {@link Parameters#weights}, or among the weights that do not learn
 * @param split what a tensor-parallel rank holds
 * @param learns whether it gets gradients
 * @param offset of its first element in the flat buffers
 * @param value compute weights, [out, in] or [out]
 */
public record Weight(
    String name, int index, Split split, boolean learns, long offset, Tensor value) {}
