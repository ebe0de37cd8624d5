package org.eellm.model;

import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Attention;
import org.eellm.config.ModelConfig.Norms;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Parameters;
import org.eellm.model.parameter.Sharding;
import org.eellm.model.parameter.Weight;
import org.eellm.tensor.Scope;

/**
 * RMSNorms of queries and of keys, before they are rotated: over the width of each head, where all
 * share a weight of [D], or over that of all of them. Values stay as they are.
 *
 * <p>Shapes: H query heads, K key/value heads, D head dimension; fused heads are [..., H + 2 K, D].
 */
public record HeadNorms(Norm.RmsNorm query, Norm.RmsNorm key, int queryHeads, int keyValueHeads) {

  /**
   * The norms of an attention whose parameters begin with {@code name}, where the model has such.
   *
   * @param attention with this rank's numbers of heads
   */
  static Optional<HeadNorms> of(
      ModelConfig model, Attention attention, Parameters parameters, String name) {
    return model.qkNorm() || model.qkNormWhole()
        ? Optional.of(
            new HeadNorms(
                norm(model.norms(), parameters, name + ".q_norm.weight"),
                norm(model.norms(), parameters, name + ".k_norm.weight"),
                attention.heads(),
                attention.keyValueHeads()))
        : Optional.empty();
  }

  private static Norm.RmsNorm norm(Norms norms, Parameters parameters, String name) {
    Weight weight = parameters.weight(name);
    return weight.split() == Sharding.REPLICATED
        ? Norm.RmsNorm.of(weight, norms)
        : new Norm.RmsNorm(
            weight, norms.epsilon(), norms.zeroCentered(), parameters.tensorParallel());
  }

  /** Fused heads with queries and keys normed. */
  Tensor forward(Tensor fused) {
    try (Scope scope = Scope.open()) {
      Tensor out = torch.empty_like(fused);
      queries(out).copy_(query.forward(rows(queries(fused), query)).view_as(queries(fused)));
      keys(out).copy_(key.forward(rows(keys(fused), key)).view_as(keys(fused)));
      values(out).copy_(values(fused));
      return scope.moveToOuter(out);
    }
  }

  /**
   * Turns the gradient of what {@link #forward} gave into that of {@code fused}, in place; the
   * norms' gradients are added.
   */
  void backward(Tensor fused, Tensor gradient, Gradients gradients) {
    try (Scope _ = Scope.open()) {
      Tensor gQuery = queries(gradient);
      gQuery.copy_(backward(query, queries(fused), gQuery, gradients));
      Tensor gKey = keys(gradient);
      gKey.copy_(backward(key, keys(fused), gKey, gradients));
    }
  }

  private static Tensor backward(
      Norm.RmsNorm norm, Tensor heads, Tensor gradient, Gradients gradients) {
    return norm.backward(rows(heads, norm), rows(gradient, norm), gradients).view_as(gradient);
  }

  /** Heads as what the norm takes: each a row, or all of a token. */
  private static Tensor rows(Tensor heads, Norm.RmsNorm norm) {
    return heads.reshape(-1, norm.weight().value().numel());
  }

  private Tensor queries(Tensor fused) {
    return fused.narrow(-2, 0, queryHeads);
  }

  private Tensor keys(Tensor fused) {
    return fused.narrow(-2, queryHeads, keyValueHeads);
  }

  private Tensor values(Tensor fused) {
    return fused.narrow(-2, queryHeads + keyValueHeads, keyValueHeads);
  }
}
