package org.eellm.model;

import java.util.Optional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Weight;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Torch;
import org.eellm.tensor.kernel.KeyStarts;
import org.eellm.tensor.kernel.KeyedDropout;

/**
 * Makes the stream before the first layer of token ids: a vector for each token, plus one for its
 * position where a model learns those.
 *
 * @param tokens this rank's part of the vocabulary, [local vocabulary, hidden]
 * @param positions [positions, hidden]; absent with rotary positions
 * @param type what to compute in
 * @param scale what the tokens' vectors are multiplied by, rounded to that type
 */
public record TokenEmbedding(
    Weight tokens,
    Optional<Weight> positions,
    ScalarType type,
    double scale,
    double dropout,
    TensorParallel parallel) {
  private static final long DROPOUT_SITE = 0;

  public TokenEmbedding {
    if (type == ScalarType.BFloat16) {
      scale = Float.intBitsToFloat(NativeNumbers.bfloat16((float) scale) << Short.SIZE);
    }
  }

  /** The stream of sequences of ids, int64 [b s]: the rows that are here, [local rows, hidden]. */
  public Tensor forward(Tensor ids, ForwardContext context) {
    try (Scope scope = Scope.open()) {
      Tensor x = lookUp(ids);
      positions.ifPresent(table -> x.add_(table.rows(localPositions(context), type)));
      dropout(context).ifPresent(keyed -> keyed.applyTo(x));
      return scope.moveToOuter(x);
    }
  }

  /** Adds the embeddings' gradients from that of the stream, g [local rows, hidden]. */
  public void backward(Tensor ids, Tensor gradient, ForwardContext context, Gradients gradients) {
    try (Scope scope = Scope.open()) {
      Tensor g = dropout(context).map(keyed -> keyed.of(gradient)).orElse(gradient);
      positions.ifPresent(table -> gradients.addRows(table, localPositions(context), g));
      LocalTokenIds own = localTokenIds(ids);
      Tensor all = parallel.gather(scale == 1 ? g : g.mul(new Scalar(scale)));
      gradients.addRows(
          tokens,
          own.ids(),
          own.foreign().map(foreign -> all.masked_fill(foreign, new Scalar(0.0))).orElse(all));
    }
  }

  /** The stream, [n, hidden], of ids at positions, both int64 [n]. */
  public Tensor forward(Tensor ids, Tensor positionIds) {
    try (Scope scope = Scope.open()) {
      Tensor x = lookUp(ids);
      positions.ifPresent(table -> x.add_(table.rows(positionIds, type)));
      return scope.moveToOuter(x);
    }
  }

  /** The embeddings of ids, summed over the ranks' parts of the vocabulary. */
  private Tensor lookUp(Tensor ids) {
    LocalTokenIds own = localTokenIds(ids);
    Tensor x = tokens.rows(own.ids(), type);
    if (scale != 1) {
      x.mul_(new Scalar(scale));
    }
    own.foreign().ifPresent(foreign -> x.masked_fill_(foreign, new Scalar(0.0)));
    return parallel.reduce(x);
  }

  /**
   * Ids as rows of this rank's part of the embedding.
   *
   * @param ids any row in place of another rank's
   * @param foreign which are another rank's, [n, 1]; absent where one rank has all
   */
  private record LocalTokenIds(Tensor ids, Optional<Tensor> foreign) {}

  private LocalTokenIds localTokenIds(Tensor ids) {
    if (parallel.size() == 1) {
      return new LocalTokenIds(ids, Optional.empty());
    }
    long rows = tokens.value().size(0);
    Tensor local = ids.sub(new Scalar(rows * parallel.rank()));
    Tensor foreign = local.lt(new Scalar(0L)).logical_or(local.ge(new Scalar(rows))).unsqueeze(1);
    return new LocalTokenIds(
        local.clamp(new ScalarOptional(new Scalar(0L)), new ScalarOptional(new Scalar(rows - 1))),
        Optional.of(foreign));
  }

  /** The positions of the sequences' tokens that are here, int64 [local rows]. */
  private Tensor localPositions(ForwardContext context) {
    ContextParallel ring = context.ring();
    Tensor sequence =
        torch.arange(
            new Scalar(context.sequence() * ring.size()),
            Torch.options(ScalarType.Long, tokens.value().device()));
    Tensor all = ring.local(sequence, 1).repeat(context.batch());
    return parallel.localRows(
        context.starts() instanceof KeyStarts.OfTokens(Tensor starts)
            ? all.sub(starts.view(all.size(0)))
            : all);
  }

  private Optional<KeyedDropout> dropout(ForwardContext context) {
    return context.ofRows(dropout, DROPOUT_SITE);
  }
}
