package org.eellm.train.objective;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.eellm.config.ConfigFile;
import org.eellm.config.TrainConfig;
import org.eellm.config.TrainConfig.LayerDropoutCurriculum;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LayerDropoutTest {

  private static TrainConfig train(double maximum, LayerDropoutCurriculum curriculum, int steps) {
    TrainConfig train = ConfigFile.defaults().train();
    return new TrainConfig(
        steps,
        train.microBatchSize(),
        train.globalBatchSize(),
        train.seed(),
        train.recompute(),
        maximum,
        curriculum,
        train.rampup(),
        train.evalInterval(),
        train.evalBatches(),
        train.maxBadSteps(),
        train.spikeThreshold(),
        train.spikeWindow(),
        train.copiesInterval(),
        train.deterministic(),
        train.threads(),
        train.device(),
        train.model());
  }

  private static List<Double> constant(double maximum, int numLayers) {
    return LayerDropout.at(train(maximum, LayerDropoutCurriculum.CONSTANT, 10), numLayers, 1);
  }

  @Test
  void at_threeLayers_growExponentially() {
    List<Double> rates = constant(0.2, 3);
    assertThat(rates).hasSize(3).startsWith(0.0).endsWith(0.2);
    assertThat(rates.get(1)).isEqualTo(0.2 * (Math.sqrt(2) - 1), within(1e-15));
  }

  @Test
  void at_manyLayers_ascendFromZeroToTheMaximum() {
    assertThat(constant(0.1, 32)).hasSize(32).isSorted().startsWith(0.0).endsWith(0.1);
  }

  @Test
  void at_oneLayer_isTheMaximum() {
    assertThat(constant(0.1, 1)).containsExactly(0.1);
  }

  @Test
  void at_off_areZero() {
    assertThat(constant(0, 4)).containsExactly(0.0, 0.0, 0.0, 0.0);
  }

  @ParameterizedTest
  @CsvSource({"1, 0", "2, 0.18920711500272103", "3, 0.41421356237309503", "5, 1"})
  void at_exponentialCurriculum_scalesAllLayersByTheStep(long step, double share) {
    TrainConfig train = train(0.2, LayerDropoutCurriculum.EXPONENTIAL, 5);
    List<Double> rates = LayerDropout.at(train, 3, step);
    assertThat(rates.get(0)).isZero();
    assertThat(rates.get(1)).isEqualTo(share * 0.2 * (Math.sqrt(2) - 1), within(1e-15));
    assertThat(rates.get(2)).isEqualTo(share * 0.2, within(1e-15));
  }

  @Test
  void at_exponentialCurriculumOfOneStep_isTheMaximum() {
    TrainConfig train = train(0.2, LayerDropoutCurriculum.EXPONENTIAL, 1);
    assertThat(LayerDropout.at(train, 2, 1)).containsExactly(0.0, 0.2);
  }
}
