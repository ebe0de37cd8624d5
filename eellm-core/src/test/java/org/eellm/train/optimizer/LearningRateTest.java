package org.eellm.train.optimizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import org.eellm.config.OptimizerConfig;
import org.eellm.config.OptimizerConfig.Schedule;
import org.eellm.train.TrainConfigs;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The schedules against values computed by hand: peak 1, least 0.1, 10 warm-up steps, decay until
 * 110.
 */
class LearningRateTest {

  @ParameterizedTest
  @CsvSource({
    "CONSTANT, 1, 0.1",
    "CONSTANT, 10, 1.0",
    "CONSTANT, 60, 1.0",
    "CONSTANT, 110, 1.0",
    "LINEAR, 5, 0.5",
    "LINEAR, 10, 1.0",
    "LINEAR, 35, 0.775",
    "LINEAR, 60, 0.55",
    "LINEAR, 110, 0.1",
    "COSINE, 10, 1.0",
    "COSINE, 35, 0.8681980515339464",
    "COSINE, 60, 0.55",
    "COSINE, 85, 0.2318019484660536",
    "COSINE, 110, 0.1",
    "INVERSE_SQUARE_ROOT, 10, 1.0",
    "INVERSE_SQUARE_ROOT, 40, 0.5",
    "INVERSE_SQUARE_ROOT, 90, 0.3333333333333333",
    "WSD, 10, 1.0",
    "WSD, 60, 1.0",
    "WSD, 90, 1.0",
    "WSD, 95, 0.775",
    "WSD, 100, 0.55",
    "WSD, 110, 0.1",
  })
  void at_schedule_matchesHandComputedValue(Schedule schedule, long step, double expected) {
    OptimizerConfig optimizer = TrainConfigs.schedule(schedule, 10, 0, 0.8);
    assertThat(LearningRate.at(optimizer, 110, step)).isCloseTo(expected, within(1e-12));
  }

  @ParameterizedTest
  @EnumSource(Schedule.class)
  void at_neighbouringSteps_differByLittle(Schedule schedule) {
    OptimizerConfig optimizer = TrainConfigs.schedule(schedule, 1000, 0, 0.8);
    double largest = 0;
    for (long step = 1; step < 12_000; step++) {
      double change =
          LearningRate.at(optimizer, 11_000, step + 1) - LearningRate.at(optimizer, 11_000, step);
      largest = Math.max(largest, Math.abs(change));
    }
    assertThat(largest).isLessThanOrEqualTo(0.001 + 1e-12);
  }

  @ParameterizedTest
  @EnumSource(Schedule.class)
  void at_afterDecayEnd_staysAtTheLastRate(Schedule schedule) {
    int decaySteps = schedule == Schedule.CONSTANT ? 0 : 50;
    OptimizerConfig optimizer = TrainConfigs.schedule(schedule, 10, decaySteps, 0.8);
    assertThat(LearningRate.at(optimizer, 1000, 700))
        .isEqualTo(LearningRate.at(optimizer, 1000, 50));
  }

  @ParameterizedTest
  @EnumSource(Schedule.class)
  void at_noWarmup_startsNearThePeakAndStaysInBounds(Schedule schedule) {
    OptimizerConfig optimizer = TrainConfigs.schedule(schedule, 0, 0, 0.8);
    assertThat(LearningRate.at(optimizer, 100, 1)).isBetween(0.99, 1.0);
    for (long step = 1; step <= 200; step++) {
      assertThat(LearningRate.at(optimizer, 100, step)).isBetween(0.1, 1.0);
    }
  }

  @Test
  void at_inverseSquareRootBelowLeast_isFloored() {
    OptimizerConfig optimizer = TrainConfigs.schedule(Schedule.INVERSE_SQUARE_ROOT, 1, 0, 0);
    assertThat(LearningRate.at(optimizer, 1000, 400)).isEqualTo(0.1);
  }

  @Test
  void at_wsdWithoutDecayShare_staysAtThePeak() {
    OptimizerConfig optimizer = TrainConfigs.schedule(Schedule.WSD, 10, 0, 1.0);
    assertThat(LearningRate.at(optimizer, 100, 100)).isEqualTo(1.0);
  }

  @Test
  void at_stepZero_isRefused() {
    OptimizerConfig optimizer = TrainConfigs.schedule(Schedule.LINEAR, 10, 0, 0);
    assertThatThrownBy(() -> LearningRate.at(optimizer, 100, 0)).hasMessageContaining("step 0");
  }
}
