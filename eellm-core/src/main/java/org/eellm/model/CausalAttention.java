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
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.kernel.CausalSoftmax;

/**
 * Softmax attention of whole sequences by blocks of queries. A block sees the keys up to its own
 * end alone, so that most of the scores that causality forbids are never computed or retained.
 *
 * <p>Shapes: b sequences, s tokens, K key/value heads, G query heads a group, D head dimension, r
 * queries of a block, e its end.
 */
final class CausalAttention {
  /** Shorter blocks save more scores, but their matrix products are too small to be fast. */
  private static final long BLOCK = 128;

  private static final long MAX_BLOCKS = 16;

  private final ForwardContext context;
  private final double dropout;
  private final long site;

  /**
   * @param dropout probability of dropping an attention probability
   * @param site tells this attention's dropout apart
   */
  CausalAttention(ForwardContext context, double dropout, long site) {
    this.context = context;
    this.dropout = dropout;
    this.site = site;
  }

  /**
   * A block's probabilities.
   *
   * @param softmax [b K, G r, e]
   * @param dropped the same after dropout
   */
  record Probabilities(Tensor softmax, Tensor dropped) {

    Probabilities retain(RetainedTensors retained) {
      return new Probabilities(retained.retain(softmax), retained.retain(dropped));
    }
  }

  /** Gradients: query [b, K, G, s, D], key and value [b K, s, D]. */
  record Result(Tensor query, Tensor key, Tensor value) {}

  /** Consecutive queries. */
  private record Block(int index, long start, long length) {
    long end() {
      return start + length;
    }

    /** The block's part of [b, K, G, s, w]. */
    Tensor part(Tensor x) {
      return x.narrow(3, start, length);
    }

    /** The block's part of [b, K, G, s, w] as [b K, G r, w]. */
    Tensor rows(Tensor x) {
      return part(x).reshape(x.size(0) * x.size(1), x.size(2) * length, x.size(4));
    }

    /** The keys or values it sees, [b K, e, D]. */
    Tensor seen(Tensor x) {
      return x.narrow(1, 0, end());
    }
  }

  private List<Block> blocks() {
    long count = Math.clamp(context.sequence() / BLOCK, 1, MAX_BLOCKS);
    long length = Math.ceilDiv(context.sequence(), count);
    return LongStream.range(0, Math.ceilDiv(context.sequence(), length))
        .mapToObj(
            i ->
                new Block(
                    Math.toIntExact(i),
                    i * length,
                    Math.min(length, context.sequence() - i * length)))
        .toList();
  }

  /**
   * Attends.
   *
   * @param query scaled, [b, K, G, s, D]
   * @param key [b K, s, D]
   * @param value [b K, s, D]
   * @param out where the heads' outputs go, a view [b, K, G, s, D]
   * @return the blocks' probabilities
   */
  List<Probabilities> forward(Tensor query, Tensor key, Tensor value, Tensor out) {
    List<Probabilities> all = new ArrayList<>();
    for (Block block : blocks()) {
      Probabilities probabilities = probabilities(block, query, key);
      Tensor attentionOutput =
          torch.bmm(probabilities.dropped(), block.seen(value)); // [b K, G r, D]
      Tensor target = block.part(out);
      target.copy_(attentionOutput.view(target.sizes()));
      all.add(probabilities);
    }
    return all;
  }

  /** Softmax of a block's masked scores, and the same after dropout. */
  private Probabilities probabilities(Block block, Tensor query, Tensor key) {
    try (Scope scope = Scope.open()) {
      Tensor scores = torch.bmm(block.rows(query), block.seen(key).transpose(1, 2));
      Tensor softmax = softmax(scores, block);
      Tensor dropped = mask(softmax, block).map(softmax::mul).orElse(softmax);
      return new Probabilities(scope.moveToOuter(softmax), scope.moveToOuter(dropped));
    }
  }

  private Tensor softmax(Tensor scores, Block block) {
    long r = block.length();
    if (CausalSoftmax.fits(scores)) {
      CausalSoftmax.forward(scores, block.start(), r);
      return scores;
    }
    scores
        .view(-1, r, block.end())
        .narrow(2, block.start(), r)
        .add_(context.causalMask().narrow(0, 0, r).narrow(1, 0, r));
    return torch.softmax(scores, -1);
  }

  /**
   * The gradients.
   *
   * @param saved what forward returned
   * @param gradient of the output, a view [b, K, G, s, D]
   */
  Result backward(
      Tensor query, Tensor key, Tensor value, List<Probabilities> saved, Tensor gradient) {
    return backward(query, key, value, gradient, block -> saved.get(block.index()));
  }

  /** The same where the probabilities have to be computed again. */
  Result recomputingBackward(Tensor query, Tensor key, Tensor value, Tensor gradient) {
    return backward(query, key, value, gradient, block -> probabilities(block, query, key));
  }

  private Result backward(
      Tensor query,
      Tensor key,
      Tensor value,
      Tensor gradient,
      Function<Block, Probabilities> probabilitiesOf) {
    try (Scope scope = Scope.open()) {
      List<Block> blocks = blocks();
      Tensor[] gQuery = new Tensor[blocks.size()];
      Tensor gKeys = key; // The last block replaces it.
      Tensor gValues = value;
      for (Block block : blocks.reversed()) { // The last sees all keys: the others add to its sums.
        Probabilities probabilities = probabilitiesOf.apply(block);
        Tensor g = block.rows(gradient); // [b K, G r, D]
        Tensor gValue = torch.bmm(probabilities.dropped().transpose(1, 2), g); // [b K, e, D]
        Tensor gScores = torch.bmm(g, block.seen(value).transpose(1, 2)); // [b K, G r, e]
        mask(gScores, block).ifPresent(gScores::mul_);
        softmaxBackward(probabilities.softmax(), gScores, block);
        gQuery[block.index()] = torch.bmm(gScores, block.seen(key)).view(block.part(query).sizes());
        Tensor gKey = torch.bmm(gScores.transpose(1, 2), block.rows(query)); // [b K, e, D]
        if (block.end() == context.sequence()) {
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
      CausalSoftmax.backward(softmax, gradient, block.start(), block.length());
    } else {
      Tensor inner = Reductions.sumLast(gradient.mul_(softmax));
      gradient.addcmul_(softmax, inner.to(gradient.scalar_type()), new Scalar(-1.0));
    }
  }

  private Optional<Tensor> mask(Tensor probabilities, Block block) {
    return context.headMask(probabilities, dropout, site + ((long) block.index() << 32));
  }
}
