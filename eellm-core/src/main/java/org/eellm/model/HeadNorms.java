package org.eellm.model;

import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.eellm.config.ModelConfig.Attention;
import org.eellm.config.ModelConfig.Norms;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Parameters;
import org.eellm.tensor.Scope;

/**
 * RMSNorms over the width of each query and of each key, before they are rotated; all heads share a
 * weight of [D]. Values stay as they are.
 *
 * <p>Shapes: H query heads, K key/value heads, D head dimension; fused heads are [..., H + 2 K, D].
 */
public record HeadNorms(Norm query, Norm key, int queryHeads, int keyValueHeads) {

  /**
   * The norms of an attention whose parameters begin with {@code name}, if the model has them.
   *
   * @param attention with this rank's numbers of heads
   */
  static Optional<HeadNorms> of(
      Attention attention, Norms norms, Parameters parameters, String name) {
    return attention.norms()
        ? Optional.of(
            new HeadNorms(
                norm(norms, parameters, name + ".q_norm.weight"),
                norm(norms, parameters, name + ".k_norm.weight"),
                attention.heads(),
                attention.keyValueHeads()))
        : Optional.empty();
  }

  private static Norm norm(Norms norms, Parameters parameters, String weight) {
    return new Norm.RmsNorm(parameters.weight(weight), norms.epsilon());
  }

  /** Fused heads with queries and keys normed. */
  Tensor forward(Tensor fused) {
    try (Scope scope = Scope.open()) {
      Tensor out = torch.empty_like(fused);
      queries(out).copy_(query.forward(rows(queries(fused))).view_as(queries(fused)));
      keys(out).copy_(key.forward(rows(keys(fused))).view_as(keys(fused)));
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
      gQuery.copy_(query.backward(rows(queries(fused)), rows(gQuery), gradients).view_as(gQuery));
      Tensor gKey = keys(gradient);
      gKey.copy_(key.backward(rows(keys(fused)), rows(gKey), gradients).view_as(gKey));
    }
  }

  private static Tensor rows(Tensor heads) {
    return heads.reshape(-1, heads.size(-1));
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
