package org.eellm.model;

import java.util.Optional;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.ModelConfig;
import org.eellm.tensor.Kept;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/** Makes the {@link Rows} of positions. */
final class RowFactors implements AutoCloseable {
  private final Kept kept = new Kept();
  private final Optional<Rope> rope;
  private final Tensor turned; // 1 / sqrt(D) for queries, 1 for keys, 0 for values: [H + 2 K, 1]
  private final Tensor unturned; // 0 for queries and keys, 1 for values: [H + 2 K, 1]
  private final Tensor scales; // their sum

  RowFactors(ModelConfig model, Optional<Rope> rope, ScalarType type, Device device) {
    this.rope = rope;
    int heads = model.numHeads() + 2 * model.numKeyValueHeads();
    int values = model.numHeads() + model.numKeyValueHeads();
    float[] turn = new float[heads];
    float[] leave = new float[heads];
    for (int head = 0; head < heads; head++) {
      boolean isQuery = head < model.numHeads();
      boolean isValue = head >= values;
      turn[head] = isValue ? 0 : isQuery ? (float) (1 / Math.sqrt(model.headDim())) : 1;
      leave[head] = isValue ? 1 : 0;
    }
    try (Scope scope = Scope.open()) {
      turned = kept.keep(Tensors.ofFloats(turn, device, heads, 1).to(type));
      unturned = kept.keep(Tensors.ofFloats(leave, device, heads, 1).to(type));
      scales = kept.keep(turned.add(unturned));
    }
  }

  /** The rows of a block whose tokens are at {@code positions}, int64 [n]. */
  Rows at(Tensor positions) {
    long count = positions.size(0);
    if (rope.isEmpty()) {
      return new Rows(count, scales, Optional.empty());
    }
    Rope.Angles angles = rope.get().wide(positions);
    Tensor cos = angles.cos().unsqueeze(1); // [n, 1, D]
    Tensor sin = angles.sin().unsqueeze(1);
    return new Rows(
        count,
        torch.addcmul(unturned, cos, turned),
        Optional.of(sin.mul(turned))); // [n, H + 2 K, D]
  }

  @Override
  public void close() {
    kept.close();
  }
}
