package org.eellm.train;

import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.ExitsConfig;
import org.eellm.config.ExitsConfig.Curriculum;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.OptimizerConfig;
import org.eellm.config.OptimizerConfig.Schedule;
import org.eellm.config.TrainConfig;
import org.eellm.config.TrainConfig.Device;
import org.eellm.config.TrainConfig.LayerDropoutCurriculum;
import org.eellm.config.TrainConfig.Rampup;
import org.eellm.config.TrainConfig.Recompute;

/** Configurations that this room's tests vary in one respect each. */
public final class TrainConfigs {
  private TrainConfigs() {}

  /** Peak 1.0, least 0.1. */
  public static OptimizerConfig schedule(
      Schedule schedule, int warmup, int decaySteps, double stable) {
    return new OptimizerConfig(
        OptimizerConfig.Algorithm.ADAMW,
        1.0,
        0.1,
        schedule,
        warmup,
        decaySteps,
        stable,
        0.9,
        0.95,
        1e-8,
        0,
        0.1,
        1.0);
  }

  public static ExitsConfig exits(
      List<Integer> layers,
      List<Double> weights,
      Curriculum curriculum,
      List<Double> initial,
      int steps) {
    return new ExitsConfig(
        layers, Set.of(), false, weights, curriculum, initial, steps, false, 0, 0, 0, List.of());
  }

  public static TrainConfig batches(int micro, int global, Rampup rampup) {
    return train(micro, global, rampup, 3, 0, 8);
  }

  public static TrainConfig guards(int maxBadSteps, double spikeThreshold, int spikeWindow) {
    return train(1, 1, new Rampup(0, 0, 0), maxBadSteps, spikeThreshold, spikeWindow);
  }

  private static TrainConfig train(
      int micro, int global, Rampup rampup, int maxBad, double spikeThreshold, int spikeWindow) {
    return new TrainConfig(
        100,
        micro,
        global,
        1,
        Recompute.NONE,
        0,
        LayerDropoutCurriculum.EXPONENTIAL,
        rampup,
        0,
        1,
        maxBad,
        spikeThreshold,
        spikeWindow,
        0,
        false,
        0,
        Device.CPU,
        Optional.empty());
  }

  /**
   * Hidden 8, 3 layers, 4 heads of width 2, 2 key/value heads, MLP 16, vocabulary 32, 10 positions.
   */
  public static Architecture architecture(
      Normalization normalization,
      PositionEmbedding positions,
      Activation activation,
      boolean bias,
      boolean tied,
      ExitLayout exits) {
    ModelConfig model =
        ModelConfig.builder()
            .vocabSize(32)
            .hiddenSize(8)
            .numLayers(3)
            .numHeads(4)
            .numKeyValueHeads(2)
            .ffnHiddenSize(16)
            .maxPositions(10)
            .normalization(normalization)
            .positionEmbedding(positions)
            .activation(activation)
            .linearBias(bias)
            .tieEmbeddings(tied)
            .build();
    return new Architecture(model, exits);
  }
}
