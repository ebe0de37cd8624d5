package org.eellm.generate;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.ModelConfig;
import org.eellm.model.Decoder;
import org.eellm.model.KeyValues;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.tensor.kernel.CachedAttention;
import org.eellm.tensor.kernel.CachedAttention.Run;

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
  private final List<Optional<Tensor>> masks = new ArrayList<>(); // [G n, L] each, or nothing
  private final boolean[] isShort; // by span: the kernel's
  private final List<List<Run>> runs = new ArrayList<>(); // of each span's L positions
  private final TensorOptional noMask = new TensorOptional();
  private final DoubleOptional scaledAlready = new DoubleOptional(1.0);
  private final ScalarType format;

  /**
   * @param format of the caches
   */
  BlockAttention(List<Span> spans, ScalarType format, Decoder model) {
    this.spans = spans;
    this.format = format;
    ModelConfig shape = model.architecture().model();
    boolean fits =
        CachedAttention.fits(model.device(), model.scalarType(), format, shape.headDim());
    isShort = new boolean[spans.size()];
    for (int i = 0; i < spans.size(); i++) {
      Span span = spans.get(i);
      isShort[i] =
          fits
              && CachedAttention.isFaster(
                  span.count(), span.end(), shape.numHeads() * shape.headDim());
      masks.add(
          span.count() == 1 || isShort[i]
              ? Optional.empty()
              : Optional.of(
                  causal(span, Torch.options(format, model.device()))
                      .repeat(shape.numHeads() / shape.numKeyValueHeads(), 1)));
      runs.add(span.sequence().cache().runs(span.end()));
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
    if (spans.size() == 1 && !isShort[0]) {
      return attend(slot, 0, query, keyValue);
    }
    Tensor out =
        Tensors.empty(
            query.scalar_type(), query.device(), query.size(0), query.size(1) * query.size(2));
    int row = 0;
    for (int i = 0; i < spans.size(); i++) {
      int n = spans.get(i).count();
      if (isShort[i]) {
        attendShort(slot, i, query, keyValue, row, out);
      } else {
        out.narrow(0, row, n)
            .copy_(attend(slot, i, query.narrow(0, row, n), keyValue.narrow(0, row, n)));
      }
      row += n;
    }
    return out;
  }

  /**
   * @param row of query, keyValue and out that the span begins with
   */
  private void attendShort(
      int slot, int index, Tensor query, Tensor keyValue, int row, Tensor out) {
    Span span = spans.get(index);
    SequenceCache cache = span.sequence().cache();
    Tensor memory = cache.memory(slot, keyValue);
    for (int i = 0; i < span.count(); i++) {
      CachedAttention.write(keyValue, row + i, memory, cache.row(span.first() + i));
    }
    CachedAttention.attend(query, row, span.count(), memory, runs.get(index), out);
  }

  /** One sequence's, [n, H D], by libtorch's operations. */
  private Tensor attend(int slot, int index, Tensor rows, Tensor keyValue) {
    Span span = spans.get(index);
    span.sequence().cache().write(slot, span.first(), keyValue);
    Tensor query = rows.to(format);
    long n = span.count();
    long heads = query.size(1);
    long d = query.size(2);
    long groups = keyValue.size(1) / 2;
    long group = heads / groups;
    if (n == 1) {
      return attention(slot, index, query.view(1, groups, group, d))
          .view(1, heads * d)
          .to(rows.scalar_type());
    }
    Tensor stacked =
        query
            .view(n, groups, group, d)
            .permute(1, 2, 0, 3)
            .reshape(1, groups, group * n, d); // [1, K, G n, D]
    return attention(slot, index, stacked)
        .view(groups, group, n, d)
        .permute(2, 0, 1, 3)
        .reshape(n, heads * d)
        .to(rows.scalar_type());
  }

  /**
   * @param query scaled, [1, K, q, D]
   * @return [1, K, q, D]
   */
  private Tensor attention(int slot, int index, Tensor query) {
    SequenceCache cache = spans.get(index).sequence().cache();
    List<Run> parts = runs.get(index);
    Optional<Tensor> mask = masks.get(index);
    if (parts.size() > 1) {
      return attentionOverRuns(slot, cache, parts, query, mask);
    }
    Run all = parts.getFirst();
    return torch.scaled_dot_product_attention(
        query,
        cache.keys(slot, all),
        cache.values(slot, all),
        mask.map(TensorOptional::new).orElse(noMask),
        0.0,
        false,
        scaledAlready,
        false);
  }

  /** The same where memory has gaps: scores run by run, one softmax, sums run by run. */
  private static Tensor attentionOverRuns(
      int slot, SequenceCache cache, List<Run> runs, Tensor query, Optional<Tensor> mask) {
    TensorVector scores = new TensorVector();
    for (Run run : runs) {
      scores.push_back(torch.matmul(query, cache.keys(slot, run).transpose(2, 3)));
    }
    Tensor all = torch.cat(scores, 3); // [1, K, q, L]
    mask.ifPresent(all::add_);
    Tensor probabilities = torch.softmax(all, 3);
    Tensor output = torch.zeros_like(query);
    for (Run run : runs) {
      output.add_(
          torch.matmul(
              probabilities.narrow(3, run.position(), run.count()), cache.values(slot, run)));
    }
    return output;
  }
}
