package org.eellm.model;

import org.bytedeco.pytorch.Tensor;

/**
 * What one operation multiplies with: a parameter, or several that lie one after another and act as
 * one matrix (query, key and value; gate and up).
 *
 * @param index position in {@link Parameters#weights}
 * @param offset of its first element in the flat buffers
 * @param value compute weights, [out, in] or [out]
 */
public record Weight(int index, long offset, Tensor value) {}
