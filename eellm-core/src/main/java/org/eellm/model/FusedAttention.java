package org.eellm.model;

import java.util.List;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.eellm.tensor.Scope;

/**
 * Softmax attention of whole sequences by libtorch's fused kernels (flash, memory-efficient), which
 * keep no probabilities. On CPUs {@link CausalAttention}'s blocks are faster.
 *
 * <p>Shapes as there.
 */
final class FusedAttention {
  private FusedAttention() {}

  /** Whether the kernels are there for a tensor's device. */
  static boolean fits(Tensor query) {
    return query.device().is_cuda();
  }

  /**
   * Attends, see {@link CausalAttention#forward}.
   *
   * @return what the backward pass needs: the recorded query, key, value and output
   */
  static List<Tensor> forward(Tensor query, Tensor key, Tensor value, Tensor out) {
    try (Scope scope = Scope.open()) {
      long b = query.size(0);
      long s = query.size(3);
      long group = query.size(2);
      Tensor q = recorded(query.view(b, query.size(1) * group, s, query.size(4)));
      Tensor k = recorded(key.view(b, query.size(1), s, query.size(4)));
      Tensor v = recorded(value.view(b, query.size(1), s, query.size(4)));
      Tensor attended =
          torch.scaled_dot_product_attention(
              q, k, v, new TensorOptional(), 0, true, new DoubleOptional(1.0), group > 1);
      out.copy_(attended.detach().view(query.sizes()));
      return List.of(
          scope.moveToOuter(q),
          scope.moveToOuter(k),
          scope.moveToOuter(v),
          scope.moveToOuter(attended));
    }
  }

  /** The gradients from that of the output, a view [b, K, G, s, D]. */
  static CausalAttention.Result backward(List<Tensor> recorded, Tensor gradient) {
    try (Scope scope = Scope.open()) {
      Tensor attended = recorded.get(3);
      TensorVector gradients =
          torch.grad(
              new TensorVector(attended),
              new TensorVector(recorded.get(0), recorded.get(1), recorded.get(2)),
              new TensorVector(gradient.reshape(attended.sizes())),
              new BoolOptional(),
              false,
              false);
      Tensor key = gradients.get(1);
      long[] rows = {key.size(0) * key.size(1), key.size(2), key.size(3)};
      return new CausalAttention.Result(
          scope.moveToOuter(gradients.get(0).reshape(gradient.sizes())),
          scope.moveToOuter(key.reshape(rows)),
          scope.moveToOuter(gradients.get(2).reshape(rows)));
    }
  }

  private static Tensor recorded(Tensor x) {
    return x.detach().requires_grad_();
  }
}
