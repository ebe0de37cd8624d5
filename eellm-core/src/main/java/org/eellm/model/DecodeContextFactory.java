package org.eellm.model;

import java.util.EnumMap;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.ModelConfig.Attention;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.model.DecodeContext.HeadFactors;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/** Makes the {@link DecodeContext} of positions. */
final class DecodeContextFactory implements AutoCloseable {
  private final RetainedTensors retained = new RetainedTensors();
  private final Tensor
      rotationScale; // attention's for queries, 1 for keys, 0 for values: [H + 2 K, 1]
  private final Tensor unrotatedScale; // 0 for queries and keys, 1 for values: [H + 2 K, 1]
  private final Tensor scales; // their sum

  DecodeContextFactory(Attention attention, ScalarType type, Device device) {
    int heads = attention.heads() + 2 * attention.keyValueHeads();
    int values = attention.heads() + attention.keyValueHeads();
    float[] rotated = new float[heads];
    float[] unrotated = new float[heads];
    for (int head = 0; head < heads; head++) {
      boolean isQuery = head < attention.heads();
      boolean isValue = head >= values;
      rotated[head] = isValue ? 0 : isQuery ? (float) attention.scale() : 1;
      unrotated[head] = isValue ? 1 : 0;
    }
    try (Scope scope = Scope.open()) {
      rotationScale = retained.retain(Tensors.ofFloats(rotated, device, heads, 1).to(type));
      unrotatedScale = retained.retain(Tensors.ofFloats(unrotated, device, heads, 1).to(type));
      scales = retained.retain(rotationScale.add(unrotatedScale));
    }
  }

  /**
   * The rows of a block whose tokens are at {@code positions}, int64 [n].
   *
   * @param ropes of the types of layers whose heads are rotated
   */
  DecodeContext at(Tensor positions, Map<LayerType, Rope> ropes) {
    Map<Rope, HeadFactors> made = new HashMap<>(); // types may share a rope
    Map<LayerType, HeadFactors> rotations = new EnumMap<>(LayerType.class);
    ropes.forEach(
        (type, rope) ->
            rotations.put(type, made.computeIfAbsent(rope, each -> rotation(positions, each))));
    return new DecodeContext(
        positions.size(0), new HeadFactors(scales, Optional.empty()), rotations);
  }

  private HeadFactors rotation(Tensor positions, Rope rope) {
    Rope.Angles angles = rope.wide(positions);
    Tensor cos = angles.cos().unsqueeze(1); // [n, 1, D]
    Tensor sin = angles.sin().unsqueeze(1);
    return new HeadFactors(
        torch.addcmul(unrotatedScale, cos, rotationScale),
        Optional.of(sin.mul(rotationScale))); // [n, H + 2 K, D]
  }

  @Override
  public void close() {
    retained.close();
  }
}
