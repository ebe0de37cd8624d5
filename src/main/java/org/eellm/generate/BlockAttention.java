package org.eellm.generate;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.ModelConfig;
import org.eellm.model.Decoder;
import org.eellm.model.KeyValues;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/**
 * Attention of a block: each sequence's rows over that sequence's own cache, which they are written
 * to first. The query heads of a group are stacked as if they were more queries, so that keys and
 * values are never repeated.
 *
 * <p>Shapes: n rows of a sequence, L positions up to the last of them, H query heads, K key/value
 * heads, G = H / K, D head dimension. Lives in the scope it is made in.
 */
final class BlockAttention implements KeyValues {
  private final List<Span> spans;
  private final List<TensorOptional> masks = new ArrayList<>(); // [G n, L] each, or nothing
  private final DoubleOptional scaledAlready = new DoubleOptional(1.0);
  private final ScalarType format;

  /**
   * @param format of the caches
   */
  BlockAttention(List<Span> spans, ScalarType format, Decoder model) {
    this.spans = spans;
    this.format = format;
    ModelConfig shape = model.architecture().model();
    for (Span span : spans) {
      masks.add(
          span.count() == 1
              ? new TensorOptional()
              : new TensorOptional(
                  causal(span, Torch.options(format, model.device()))
                      .repeat(shape.numHeads() / shape.numKeyValueHeads(), 1)));
    }
  }

  /** Minus infinity where a row would look ahead, else 0, [n, L]. */
  private static Tensor causal(Span span, TensorOptions options) {
    return torch
        .full(new long[] {span.count(), span.end()}, new Scalar(Double.NEGATIVE_INFINITY), options)
        .triu_(span.first() + 1L);
  }

  @Override
  public Tensor attend(int slot, Tensor query, Tensor keyValue) {
    return attendAll(slot, query.to(format), keyValue).to(query.scalar_type());
  }

  private Tensor attendAll(int slot, Tensor query, Tensor keyValue) {
    if (spans.size() == 1) {
      return attend(slot, spans.getFirst(), masks.getFirst(), query, keyValue);
    }
    List<Tensor> outputs = new ArrayList<>();
    long row = 0;
    for (int i = 0; i < spans.size(); i++) {
      Span span = spans.get(i);
      int n = span.count();
      outputs.add(
          attend(slot, span, masks.get(i), query.narrow(0, row, n), keyValue.narrow(0, row, n)));
      row += n;
    }
    return Tensors.stack(outputs);
  }

  private Tensor attend(int slot, Span span, TensorOptional mask, Tensor query, Tensor keyValue) {
    SequenceCache cache = span.sequence().cache();
    cache.write(slot, span.first(), keyValue);
    long n = span.count();
    long heads = query.size(1);
    long d = query.size(2);
    long groups = keyValue.size(1) / 2;
    long group = heads / groups;
    Tensor keys = cache.keys(slot, span.end());
    Tensor values = cache.values(slot, span.end());
    if (n == 1) {
      return attention(query.view(1, groups, group, d), keys, values, mask).view(1, heads * d);
    }
    Tensor stacked =
        query
            .view(n, groups, group, d)
            .permute(1, 2, 0, 3)
            .reshape(1, groups, group * n, d); // [1, K, G n, D]
    return attention(stacked, keys, values, mask)
        .view(groups, group, n, d)
        .permute(2, 0, 1, 3)
        .reshape(n, heads * d);
  }

  /**
   * @param query scaled, [1, K, q, D]
   * @param keys [1, K, L, D]
   * @param mask [q, L] or nothing
   * @return [1, K, q, D]
   */
  private Tensor attention(Tensor query, Tensor keys, Tensor values, TensorOptional mask) {
    return torch.scaled_dot_product_attention(
        query, keys, values, mask, 0.0, false, scaledAlready, false);
  }
}
