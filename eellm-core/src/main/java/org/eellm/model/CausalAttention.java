package org.eellm.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.LongStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.ModelConfig.Attention;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Torch;
import org.eellm.tensor.kernel.CausalSoftmax;
import org.eellm.tensor.kernel.KeyStarts;
import org.eellm.tensor.kernel.KeyedDropout;

/**
 * Softmax attention of whole sequences by blocks of queries, or by libtorch's fused kernels on
 * GPUs, or {@link RingAttention}. A block sees the keys up to its own end alone, and none before
 * its first query's window, so that most of the scores that are forbidden are never computed or
 * retained.
 *
 * <p>Shapes: b sequences, s tokens, K key/value heads, G query heads a group, D head dimension, r
 * queries of a block, e keys that it sees.
 */
final class CausalAttention {
  /** Shorter blocks save more scores, but their matrix products are too small to be fast. */
  private static final long BLOCK = 128;

  private static final long MAX_BLOCKS = 16;

  private final ForwardContext context;
  private final Attention attention;
  private final SoftCap cap;
  private final long site;

  /**
   * @param site tells this attention's dropout apart
   */
  CausalAttention(ForwardContext context, Attention attention, long site) {
    this.context = context;
    this.attention = attention;
    this.cap = new SoftCap(attention.softcap());
    this.site = site;
  }

  /** Gradients: query [b, K, G, s, D], key and value [b K, s, D]. */
  record Result(Tensor query, Tensor key, Tensor value) {}

  /**
   * Consecutive queries.
   *
   * @param key the first key that one of them sees
   */
  record Block(int index, long start, long length, long key) {
    long end() {
      return start + length;
    }

    /** The block that is so many queries further on. */
    Block after(long queries) {
      return new Block(index, queries + start, length, key);
    }

    /** The block's part of [b, K, G, s, w]. */
    Tensor part(Tensor x) {
      return x.narrow(3, start, length);
    }

    /** The block's part of [b, K, G, s, w] as [b K, G r, w]. */
    Tensor rows(Tensor x) {
      return part(x).reshape(x.size(0) * x.size(1), x.size(2) * length, x.size(4));
    }

    long keys() {
      return end() - key;
    }

    /** The keys or values it sees, [b K, e, D]. */
    Tensor seen(Tensor x) {
      return x.narrow(1, key, keys());
    }
  }

  /**
   * The blocks that {@code queries} consecutive queries are cut into.
   *
   * @param window positions that each sees
   */
  static List<Block> blocks(long queries, int window) {
    long count = Math.clamp(queries / BLOCK, 1, MAX_BLOCKS);
    long length = Math.ceilDiv(queries, count);
    return LongStream.range(0, Math.ceilDiv(queries, length))
        .mapToObj(
            i ->
                new Block(
                    Math.toIntExact(i),
                    i * length,
                    Math.min(length, queries - i * length),
                    Math.max(0, i * length - window + 1)))
        .toList();
  }

  /**
   * Attends.
   *
   * @param query scaled, [b, K, G, s, D]
   * @param key [b K, s, D]
   * @param value [b K, s, D]
   * @param out where the heads' outputs go, a view [b, K, G, s, D]
   * @return what the backward pass needs: the blocks' probabilities before dropout, [b K, G r, e],
   *     or what the other ways keep
   */
  List<Tensor> forward(Tensor query, Tensor key, Tensor value, Tensor out) {
    if (context.ring().size() > 1) {
      return ring(query).forward(query, key, value, out);
    }
    if (fused(query)) {
      return FusedAttention.forward(query, key, value, out);
    }
    return forwardByBlocks(query, key, value, out);
  }

  /**
   * Fused kernels draw their own dropout, which would not be the same on every mesh. A mask of
   * documents or windows they would keep for the backward pass, as large as a head's probabilities.
   */
  private boolean fused(Tensor query) {
    return FusedAttention.fits(query)
        && context.seesAll(attention.window())
        && !cap.isActive()
        && (attention.dropout() == 0 || context.dropout() instanceof Dropout.None);
  }

  private RingAttention ring(Tensor query) {
    return new RingAttention(context, attention, starts(query), site);
  }

  private KeyStarts starts(Tensor query) {
    return context.starts(attention.window(), query.device());
  }

  private List<Block> blocks() {
    return blocks(context.sequence(), attention.window());
  }

  private List<Tensor> forwardByBlocks(Tensor query, Tensor key, Tensor value, Tensor out) {
    List<Tensor> all = new ArrayList<>();
    KeyStarts starts = starts(query);
    for (Block block : blocks()) {
      Tensor softmax = softmax(block, query, key, starts);
      try (Scope scope = Scope.open()) {
        Tensor attentionOutput =
            torch.bmm(dropped(softmax, block), block.seen(value)); // [b K, G r, D]
        Tensor target = block.part(out);
        target.copy_(attentionOutput.view(target.sizes()));
      }
      all.add(softmax);
    }
    return all;
  }

  /** Softmax of a block's masked scores. */
  private Tensor softmax(Block block, Tensor query, Tensor key, KeyStarts starts) {
    try (Scope scope = Scope.open()) {
      return scope.moveToOuter(softmax(scores(block, query, key), block, starts));
    }
  }

  /** A block's scores before they are masked, [b K, G r, e]. */
  private Tensor scores(Block block, Tensor query, Tensor key) {
    return cap.applyTo(torch.bmm(block.rows(query), block.seen(key).transpose(1, 2)));
  }

  private Tensor softmax(Tensor scores, Block block, KeyStarts starts) {
    long r = block.length();
    if (CausalSoftmax.fits(scores)) {
      CausalSoftmax.forward(scores, block.start(), r, block.key(), starts);
      return scores;
    }
    if (starts instanceof KeyStarts.OfTokens(Tensor first)) {
      hideEarlierKeys(scores, block, first);
    }
    scores
        .view(-1, r, block.keys())
        .narrow(2, block.start() - block.key(), r)
        .masked_fill_(positions(r, scores).gt(positions(r, scores).view(r, 1)), minusInfinity());
    return torch.softmax(scores, -1);
  }

  private void hideEarlierKeys(Tensor scores, Block block, Tensor starts) {
    Tensor first = // among the block's keys, [b or 1, r]
        starts.narrow(1, block.start(), block.length()).sub(new Scalar(block.key()));
    Tensor hidden = positions(block.keys(), scores).lt(first.unsqueeze(2)); // [b or 1, r, e]
    scores
        .view(context.batch(), -1, block.length(), block.keys())
        .masked_fill_(hidden.unsqueeze(1), minusInfinity());
  }

  private static Scalar minusInfinity() {
    return new Scalar(Double.NEGATIVE_INFINITY);
  }

  private static Tensor positions(long count, Tensor where) {
    return torch.arange(new Scalar(count), Torch.options(ScalarType.Long, where.device()));
  }

  /**
   * The gradients.
   *
   * @param gradient of the output, a view [b, K, G, s, D]
   */
  Result backward(Tensor query, Tensor key, Tensor value, List<Tensor> saved, Tensor gradient) {
    if (context.ring().size() > 1) {
      return ring(query).backward(query, key, value, saved, gradient);
    }
    return fused(query)
        ? FusedAttention.backward(saved, gradient)
        : backward(query, key, value, gradient, block -> saved.get(block.index()));
  }

  /** The gradients without {@code saved} results, which are computed again. */
  Result recomputingBackward(Tensor query, Tensor key, Tensor value, Tensor gradient) {
    if (fused(query)) {
      try (Scope scope = Scope.open()) {
        Tensor again = torch.empty_like(query);
        Result result =
            FusedAttention.backward(FusedAttention.forward(query, key, value, again), gradient);
        return new Result(
            scope.moveToOuter(result.query()),
            scope.moveToOuter(result.key()),
            scope.moveToOuter(result.value()));
      }
    }
    KeyStarts starts = starts(query);
    return backward(query, key, value, gradient, block -> softmax(block, query, key, starts));
  }

  private Result backward(
      Tensor query, Tensor key, Tensor value, Tensor gradient, Function<Block, Tensor> softmaxOf) {
    try (Scope scope = Scope.open()) {
      List<Block> blocks = blocks();
      Tensor[] gQuery = new Tensor[blocks.size()];
      // The last block sees all keys: the others add to its sums. Not so with windows.
      boolean lastSeesAll = blocks.getLast().key() == 0;
      Tensor gKeys = lastSeesAll ? key : torch.zeros_like(key);
      Tensor gValues = lastSeesAll ? value : torch.zeros_like(value);
      for (Block block : blocks.reversed()) {
        Tensor softmax = softmaxOf.apply(block);
        Tensor g = block.rows(gradient); // [b K, G r, D]
        Tensor gValue = torch.bmm(dropped(softmax, block).transpose(1, 2), g); // [b K, e, D]
        Tensor gScores = torch.bmm(g, block.seen(value).transpose(1, 2)); // [b K, G r, e]
        dropout(gScores, block).ifPresent(dropout -> dropout.applyTo(matrix(gScores)));
        softmaxBackward(softmax, gScores, block);
        if (cap.isActive()) {
          gScores.mul_(cap.slope(scores(block, query, key)));
        }
        gQuery[block.index()] = torch.bmm(gScores, block.seen(key)).view(block.part(query).sizes());
        Tensor gKey = torch.bmm(gScores.transpose(1, 2), block.rows(query)); // [b K, e, D]
        if (lastSeesAll && block.end() == context.sequence()) {
          gKeys = gKey;
          gValues = gValue;
        } else {
          block.seen(gKeys).add_(gKey);
          block.seen(gValues).add_(gValue);
        }
      }
      Tensor all = gQuery.length == 1 ? gQuery[0] : torch.cat(new TensorVector(gQuery), 3);
      return new Result(
          scope.moveToOuter(all), scope.moveToOuter(gKeys), scope.moveToOuter(gValues));
    }
  }

  /** Replaces the probabilities' gradient by the scores'. */
  private static void softmaxBackward(Tensor softmax, Tensor gradient, Block block) {
    if (CausalSoftmax.fits(gradient)) {
      CausalSoftmax.backward(softmax, gradient, block.start() - block.key(), block.length());
    } else {
      Tensor inner = Reductions.sumLast(gradient.mul_(softmax));
      gradient.addcmul_(softmax, inner.to(gradient.scalar_type()), new Scalar(-1.0));
    }
  }

  /** The probabilities after dropout, which is drawn again in the backward pass. */
  private Tensor dropped(Tensor softmax, Block block) {
    return dropout(softmax, block)
        .map(dropout -> dropout.of(matrix(softmax)).view(softmax.sizes()))
        .orElse(softmax);
  }

  private static Tensor matrix(Tensor x) {
    return x.view(-1, x.size(2));
  }

  private Optional<KeyedDropout> dropout(Tensor x, Block block) {
    return context.ofHeads(
        x.size(0) * x.size(1) / block.length() / context.batch(),
        new ForwardContext.Scores(block.start(), block.length(), block.key()),
        attention.dropout(),
        site);
  }
}
