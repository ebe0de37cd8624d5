package org.eellm.model;

import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.eellm.config.ModelConfig.LayerType;

/**
 * The tokens of a block in generation, as the branches see them: what position does to their fused
 * queries, keys and values, H + 2 K heads of width D.
 *
 * <p>Rotating queries and keys, scaling queries and leaving values alone is one expression for all
 * heads, {@code x * factors + roll(x) * rolledFactors}, where roll exchanges the halves of a head:
 * few operations, which is what decoding one token costs.
 *
 * @param count n
 * @param unrotated of layers whose heads are not rotated
 * @param rotations of the types of layers whose heads are
 */
public record DecodeContext(
    long count, HeadFactors unrotated, Map<LayerType, HeadFactors> rotations) {

  /**
   * What fused heads are multiplied by.
   *
   * @param factors [n, H + 2 K, D], or what broadcasts to it
   * @param rolledFactors the same; absent where heads are not rotated
   */
  record HeadFactors(Tensor factors, Optional<Tensor> rolledFactors) {}

  /** {@code fused}, [n, H + 2 K, D], with queries scaled and rotated and keys rotated. */
  Tensor applyRotary(Tensor fused, LayerType type) {
    HeadFactors here = rotations.getOrDefault(type, unrotated);
    Tensor rotated = fused.mul(here.factors());
    here.rolledFactors()
        .ifPresent(
            present ->
                rotated.addcmul_(
                    torch.roll(fused, new long[] {fused.size(2) / 2}, new long[] {2}), present));
    return rotated;
  }
}
