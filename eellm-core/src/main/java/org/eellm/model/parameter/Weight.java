package org.eellm.model.parameter;

import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.tensor.Scope;

/**
 * The matrix or vector of one operation: a parameter, or several that lie one after another and act
 * as one matrix (query, key and value; gate and up).
 *
 * @param name of the first parameter
 * @param index position in {@link Parameters#weights}, or among the weights that do not learn
 * @param split what a tensor-parallel rank holds
 * @param requiresGrad whether it gets gradients
 * @param offset of its first element in the flat buffers
 * @param value compute weights, [out, in] or [out]; int8 with {@code scales}
 * @param scales what the rows of a quantized matrix are multiplied with, float32 [out]
 */
public record Weight(
    String name,
    int index,
    Sharding split,
    boolean requiresGrad,
    long offset,
    Tensor value,
    Optional<Tensor> scales) {

  /** {@code x W^T}, [n, out], of x [n, in]. */
  public Tensor times(Tensor x) {
    if (scales.isEmpty()) {
      return torch.linear(x, value);
    }
    try (Scope scope = Scope.open()) {
      Tensor factors = scales.get().to(x.scalar_type());
      return scope.moveToOuter(torch.linear(x, value.to(x.scalar_type())).mul_(factors));
    }
  }

  /** {@code x W^T + bias}, [n, out]. */
  public Tensor times(Tensor x, Weight bias) {
    return scales.isEmpty()
        ? torch.linear(x, value, new TensorOptional(bias.value()))
        : times(x).add_(bias.value());
  }

  /** The rows of an embedding, [n, in], of ids, int64 [n], in the format to compute in. */
  public Tensor rows(Tensor ids, ScalarType type) {
    Tensor rows = value.index_select(0, ids);
    return scales.map(all -> all.index_select(0, ids).unsqueeze(1).mul(rows).to(type)).orElse(rows);
  }
}
