package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import java.util.Set;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.TuneConfig.Lora;
import org.eellm.config.TuneConfig.Projection;
import org.eellm.cost.ModelFlops;
import org.eellm.cost.ParameterCount;
import org.junit.jupiter.api.Test;

/** By hand for hidden 8, 3 layers, 4 heads of width 2, 2 key/value heads, MLP 16, vocabulary 32. */
class ModelFlopsTest {

  private static Architecture llama(ExitLayout exits, boolean tied) {
    return TrainConfigs.architecture(
        Normalization.RMSNORM, PositionEmbedding.ROPE, Activation.SWIGLU, false, tied, exits);
  }

  @Test
  void perToken_bareExits_countsMatricesAttentionAndOutputs() {
    ModelFlops flops =
        ModelFlops.perToken(
            llama(new ExitLayout(List.of(1, 2), false, false, false, false), true), 10);
    // A layer: q 64 + k, v 2 x 32 + o 64 + MLP 3 x 128 = 576 entries; attention 12 x 10 x 8.
    assertThat(flops.trunk()).isEqualTo(3 * (6 * 576 + 12 * 10 * 8));
    assertThat(flops.finalHead()).isEqualTo(6 * 32 * 8);
    assertThat(flops.exit()).isEqualTo(6 * 32 * 8);
    assertThat(flops.total(2)).isEqualTo(13_248 + 3 * 1536);
    assertThat(flops.total(0)).isEqualTo(13_248 + 1536);
  }

  @Test
  void perToken_mlpAndBlock_countTowardsTheExit() {
    ModelFlops flops =
        ModelFlops.perToken(llama(new ExitLayout(List.of(2), true, true, true, true), true), 10);
    assertThat(flops.exit()).isEqualTo(6 * 32 * 8 + 6 * 384 + (6 * 576 + 12 * 10 * 8));
  }

  /** Sliding, full, sliding; and a block like the last. */
  @Test
  void perToken_slidingLayers_countTheirWindowAlone() {
    Architecture full = llama(new ExitLayout(List.of(2), true, false, true, true), true);
    ModelConfig sliding =
        full.model().toBuilder()
            .layerTypes(List.of(LayerType.SLIDING, LayerType.FULL))
            .slidingWindow(4)
            .build();
    ModelFlops flops = ModelFlops.perToken(new Architecture(sliding, full.exits()), 10);
    assertThat(flops.trunk()).isCloseTo(3 * 6 * 576 + 12 * (4 + 10 + 4) * 8, within(1e-6));
    assertThat(flops.exit()).isEqualTo(6 * 32 * 8 + (6 * 576 + 12 * 4 * 8));
  }

  /** Changes of rank 3 of q (8 to 8) and gate (8 to 16): 3 x 16 + 3 x 24 = 120 entries a layer. */
  @Test
  void perToken_lowRankChanges_countNoGradientsOfMatrices() {
    Lora lora = new Lora(3, 6, 0, Set.of(Projection.Q_PROJ, Projection.GATE_PROJ));
    ModelFlops flops =
        ModelFlops.perToken(
            llama(new ExitLayout(List.of(2), true, true, true, true), true),
            10,
            new Learning.Adapter(lora));
    assertThat(flops.trunk()).isEqualTo(3 * (4 * 576 + 12 * 10 * 8 + 6 * 120));
    assertThat(flops.trunkForward()).isEqualTo(3 * (2 * 576 + 4 * 10 * 8 + 2 * 120));
    assertThat(flops.finalHead()).isEqualTo(4 * 32 * 8);
    assertThat(flops.exit()).isEqualTo(4 * 32 * 8 + 4 * 384 + (4 * 576 + 12 * 10 * 8));
  }

  @Test
  void count_llamaUntied_countsEveryPart() {
    ParameterCount count =
        ParameterCount.of(llama(new ExitLayout(List.of(1, 2), true, true, false, false), false));
    assertThat(count.embeddings()).isEqualTo(256);
    assertThat(count.trunk()).isEqualTo(3 * (576 + 16));
    assertThat(count.finalHead()).isEqualTo(8 + 256);
    assertThat(count.exits()).isEqualTo(2 * (384 + 8 + 256));
    assertThat(count.total()).isEqualTo(256 + 1776 + 264 + 1296);
  }

  @Test
  void count_gptTiedWithBiases_countsBiasesPositionsAndTiedMatricesOnce() {
    ParameterCount count =
        ParameterCount.of(
            TrainConfigs.architecture(
                Normalization.LAYERNORM,
                PositionEmbedding.LEARNED,
                Activation.GELU,
                true,
                true,
                new ExitLayout(List.of(3), true, false, true, true)));
    // A layer: 192 + 256 entries; biases 8 + 4 + 4 + 8 and 16 + 8; two norms of 16.
    int layer = 448 + 24 + 24 + 32;
    assertThat(count.embeddings()).isEqualTo(256 + 80);
    assertThat(count.trunk()).isEqualTo(3 * layer);
    assertThat(count.finalHead()).isEqualTo(16);
    assertThat(count.exits()).isEqualTo(layer + 16);
  }
}
