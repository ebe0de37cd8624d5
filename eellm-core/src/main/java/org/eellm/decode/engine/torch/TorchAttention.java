package org.eellm.decode.engine.torch;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.eellm.config.ModelConfig;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.model.Decoder;
import org.eellm.model.KeyValueCache;
import org.eellm.model.SoftCap;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/**
 * Attention of a block by libtorch's operations: each sequence's rows over that sequence's own
 * pages, which they are written to first. The query heads of a group are stacked as if they were
 * more queries, so that keys and values are never repeated.
 *
 * <p>Shapes: n rows of a sequence, L positions up to the last of them, H query heads, K key/value
 * heads, G = H / K, D head dimension. Lives in the scope it is made in.
 */
final class TorchAttention implements KeyValueCache {

  /**
   * A sequence's rows.
   *
   * @param count n
   * @param here where these rows lie in the cache
   * @param sights what they see, by window
   */
  private record TokenRange(int count, List<PageRun> here, Map<Integer, Sight> sights) {}

  /**
   * What a sequence's rows see.
   *
   * @param runs where the L positions lie, from the first that one of them sees to the last row's
   * @param mask minus infinity where a row does not look, else 0, [G n, L]; absent for one row
   */
  private record Sight(List<PageRun> runs, Optional<Tensor> mask) {}

  private final TorchKeyValueCache cache;
  private final ModelConfig shape;
  private final SoftCap cap;
  private final List<TokenRange> ranges = new ArrayList<>();
  private final TensorOptional noMask = new TensorOptional();
  private final DoubleOptional scaledAlready = new DoubleOptional(1.0);

  /**
   * @param from the first row of the block that takes part
   * @param to the row after the last
   */
  TorchAttention(TorchKeyValueCache cache, ForwardBatch rows, int from, int to, Decoder model) {
    this.cache = cache;
    shape = model.architecture().model();
    cap = new SoftCap(shape.attentionSoftcap());
    TensorOptions options = Torch.options(cache.format(), model.device());
    for (int i = 0; i < rows.ranges(); i++) {
      int start = Math.max(from, rows.start(i));
      int count = Math.min(to, rows.end(i)) - start;
      if (count > 0) {
        int first = rows.position(start);
        int[] pages = rows.pages(i);
        Map<Integer, Sight> sights = new HashMap<>();
        for (int type = 0; type < shape.layerTypes().size(); type++) {
          sights.computeIfAbsent(
              shape.attention(type).window(),
              window -> sight(pages, first, count, window, options));
        }
        ranges.add(new TokenRange(count, PageRun.of(pages, first, first + count), sights));
      }
    }
  }

  private Sight sight(int[] pages, int first, int count, int window, TensorOptions options) {
    int seen = Math.max(0, first - window + 1);
    int group = shape.numHeads() / shape.numKeyValueHeads();
    return new Sight(
        PageRun.of(pages, seen, first + count),
        count == 1
            ? Optional.empty()
            : Optional.of(mask(first - seen, count, window, options).repeat(group, 1)));
  }

  /**
   * @param first place of the first row among the positions that one of them sees
   */
  private static Tensor mask(int first, int count, int window, TensorOptions options) {
    Tensor hidden =
        torch.full(
            new long[] {count, first + (long) count},
            new Scalar(Double.NEGATIVE_INFINITY),
            options);
    Tensor later = hidden.triu(first + 1L);
    return window < first + count ? later.add_(hidden.tril(first - (long) window)) : later;
  }

  @Override
  public Tensor attend(int slot, Tensor query, Tensor keyValue) {
    Tensor memory = cache.memory(slot, keyValue);
    int window = shape.attention(slot).window();
    if (ranges.size() == 1) {
      return attend(memory, ranges.getFirst(), window, query, keyValue);
    }
    Tensor out =
        Tensors.empty(
            query.scalar_type(), query.device(), query.size(0), query.size(1) * query.size(2));
    int row = 0;
    for (TokenRange range : ranges) {
      int n = range.count();
      out.narrow(0, row, n)
          .copy_(
              attend(memory, range, window, query.narrow(0, row, n), keyValue.narrow(0, row, n)));
      row += n;
    }
    return out;
  }

  @Override
  public void store(int slot, Tensor keyValue) {
    Tensor memory = cache.memory(slot, keyValue);
    int row = 0;
    for (TokenRange range : ranges) {
      write(memory, range, keyValue.narrow(0, row, range.count()));
      row += range.count();
    }
  }

  /** One sequence's, [n, H D]. */
  private Tensor attend(Tensor memory, TokenRange range, int window, Tensor rows, Tensor keyValue) {
    write(memory, range, keyValue);
    Sight sight = Objects.requireNonNull(range.sights().get(window));
    Tensor query = rows.to(cache.format());
    long n = range.count();
    long heads = query.size(1);
    long d = query.size(2);
    long groups = keyValue.size(1) / 2;
    long group = heads / groups;
    if (n == 1) {
      return attention(memory, sight, query.view(1, groups, group, d))
          .view(1, heads * d)
          .to(rows.scalar_type());
    }
    Tensor stacked =
        query
            .view(n, groups, group, d)
            .permute(1, 2, 0, 3)
            .reshape(1, groups, group * n, d); // [1, K, G n, D]
    return attention(memory, sight, stacked)
        .view(groups, group, n, d)
        .permute(2, 0, 1, 3)
        .reshape(n, heads * d)
        .to(rows.scalar_type());
  }

  private static void write(Tensor memory, TokenRange range, Tensor keyValue) {
    Tensor byHead = keyValue.transpose(0, 1); // [2 K, n, D]
    int from = 0;
    for (PageRun run : range.here()) {
      memory
          .narrow(1, run.row(), run.count())
          .copy_(range.here().size() == 1 ? byHead : byHead.narrow(1, from, run.count()));
      from += run.count();
    }
  }

  /**
   * @param query scaled, [1, K, q, D]
   * @return [1, K, q, D]
   */
  private Tensor attention(Tensor memory, Sight sight, Tensor query) {
    if (sight.runs().size() > 1 || cap.isActive()) {
      return attentionOverRuns(memory, sight, query);
    }
    PageRun all = sight.runs().getFirst();
    return torch.scaled_dot_product_attention(
        query,
        keys(memory, all),
        values(memory, all),
        sight.mask().map(TensorOptional::new).orElse(noMask),
        0.0,
        false,
        scaledAlready,
        false);
  }

  /** Attention by parts: scores run by run, one softmax, sums run by run. */
  private Tensor attentionOverRuns(Tensor memory, Sight sight, Tensor query) {
    TensorVector scores = new TensorVector();
    for (PageRun run : sight.runs()) {
      scores.push_back(torch.matmul(query, keys(memory, run).transpose(2, 3)));
    }
    Tensor all = cap.applyTo(torch.cat(scores, 3)); // [1, K, q, L]
    sight.mask().ifPresent(all::add_);
    Tensor probabilities = torch.softmax(all, 3);
    Tensor output = torch.zeros_like(query);
    int first = sight.runs().getFirst().position();
    for (PageRun run : sight.runs()) {
      Tensor part = probabilities.narrow(3, run.position() - first, run.count());
      output.add_(torch.matmul(part, values(memory, run)));
    }
    return output;
  }

  /** [1, K, count, D]. */
  private static Tensor keys(Tensor memory, PageRun run) {
    return half(memory, 0, run);
  }

  /** [1, K, count, D]. */
  private static Tensor values(Tensor memory, PageRun run) {
    return half(memory, 1, run);
  }

  private static Tensor half(Tensor memory, int which, PageRun run) {
    long heads = memory.size(0) / 2;
    return memory.narrow(0, which * heads, heads).narrow(1, run.row(), run.count()).unsqueeze(0);
  }
}
