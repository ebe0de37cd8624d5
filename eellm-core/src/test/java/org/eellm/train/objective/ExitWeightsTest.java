package org.eellm.train.objective;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.eellm.train.TrainConfigs.exits;

import java.util.List;
import java.util.Set;
import org.assertj.core.data.Offset;
import org.eellm.config.ExitsConfig;
import org.eellm.config.ExitsConfig.Curriculum;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class ExitWeightsTest {
  private static final Offset<Double> ROUNDING = within(1e-12);
  private static final List<Double> TARGETS = List.of(0.25, 0.5);

  private static double[] warming(Curriculum curriculum, long step) {
    return ExitWeights.at(
        exits(List.of(6, 12), TARGETS, curriculum, List.of(0.05, 0.9), 100), step);
  }

  @Test
  void at_constant_givesTargets() {
    ExitsConfig exits = exits(List.of(6, 12), TARGETS, Curriculum.CONSTANT, List.of(), 0);
    assertThat(ExitWeights.at(exits, 1)).containsExactly(0.25, 0.5);
    assertThat(ExitWeights.at(exits, 1_000_000)).containsExactly(0.25, 0.5);
  }

  @Test
  void at_linear_goesFromInitialToTarget() {
    assertThat(warming(Curriculum.LINEAR, 1)).containsExactly(0.05, 0.9);
    assertThat(warming(Curriculum.LINEAR, 26)).containsExactly(new double[] {0.1, 0.8}, ROUNDING);
    assertThat(warming(Curriculum.LINEAR, 51)).containsExactly(new double[] {0.15, 0.7}, ROUNDING);
    assertThat(warming(Curriculum.LINEAR, 101)).containsExactly(0.25, 0.5);
  }

  @Test
  void at_cosine_startsSlowlyAndIsHalfwayInTheMiddle() {
    double quarter = (1 - Math.sqrt(0.5)) / 2;
    assertThat(warming(Curriculum.COSINE, 1)).containsExactly(0.05, 0.9);
    assertThat(warming(Curriculum.COSINE, 26))
        .containsExactly(new double[] {0.05 + 0.2 * quarter, 0.9 - 0.4 * quarter}, ROUNDING);
    assertThat(warming(Curriculum.COSINE, 51)).containsExactly(new double[] {0.15, 0.7}, ROUNDING);
    assertThat(warming(Curriculum.COSINE, 101)).containsExactly(0.25, 0.5);
  }

  @Test
  void at_step_jumpsAfterCurriculumSteps() {
    assertThat(warming(Curriculum.STEP, 100)).containsExactly(0.05, 0.9);
    assertThat(warming(Curriculum.STEP, 101)).containsExactly(0.25, 0.5);
  }

  @Test
  void at_rotational_takesOneExitAStepInTurn() {
    ExitsConfig exits =
        exits(List.of(1, 2, 3), List.of(0.1, 0.2, 0.3), Curriculum.ROTATIONAL, List.of(), 5);
    assertThat(ExitWeights.at(exits, 1)).containsExactly(0.1, 0, 0);
    assertThat(ExitWeights.at(exits, 2)).containsExactly(0, 0.2, 0);
    assertThat(ExitWeights.at(exits, 3)).containsExactly(0, 0, 0.3);
    assertThat(ExitWeights.at(exits, 4)).containsExactly(0.1, 0, 0);
    assertThat(ExitWeights.at(exits, 5)).containsExactly(0, 0.2, 0);
    assertThat(ExitWeights.at(exits, 6)).containsExactly(0.1, 0.2, 0.3);
  }

  @Test
  void at_gradual_joinsExitsFromTheDeepest() {
    ExitsConfig exits =
        exits(List.of(1, 2, 3), List.of(0.1, 0.2, 0.3), Curriculum.GRADUAL, List.of(), 10);
    assertThat(ExitWeights.at(exits, 4)).containsExactly(0, 0, 0);
    assertThat(ExitWeights.at(exits, 5)).containsExactly(0, 0, 0.3);
    assertThat(ExitWeights.at(exits, 7)).containsExactly(0, 0, 0.3);
    assertThat(ExitWeights.at(exits, 8)).containsExactly(0, 0.2, 0.3);
    assertThat(ExitWeights.at(exits, 10)).containsExactly(0, 0.2, 0.3);
    assertThat(ExitWeights.at(exits, 11)).containsExactly(0.1, 0.2, 0.3);
  }

  @ParameterizedTest
  @EnumSource(
      value = Curriculum.class,
      names = {"LINEAR", "COSINE", "STEP", "ROTATIONAL", "GRADUAL"})
  void at_afterCurriculum_givesTargets(Curriculum curriculum) {
    assertThat(warming(curriculum, 101)).containsExactly(0.25, 0.5);
    assertThat(warming(curriculum, 1000)).containsExactly(0.25, 0.5);
  }

  @ParameterizedTest
  @CsvSource({"1, 0", "10, 0", "11, 0", "12, 0.2", "13, 0.4", "15, 0.8", "1000, 0.8"})
  void distillationAt_aroundItsRise_isLinear(long step, double weight) {
    assertThat(ExitWeights.distillationAt(distilling(4), step)).isEqualTo(weight, ROUNDING);
  }

  @ParameterizedTest
  @CsvSource({"10, 0", "11, 0.8"})
  void distillationAt_withoutARise_isWholeAtOnce(long step, double weight) {
    assertThat(ExitWeights.distillationAt(distilling(0), step)).isEqualTo(weight);
  }

  /** Weight 0.8, nothing in the first ten steps. */
  private static ExitsConfig distilling(int steps) {
    return new ExitsConfig(
        List.of(6),
        Set.of(),
        false,
        List.of(),
        Curriculum.CONSTANT,
        List.of(),
        0,
        false,
        0.8,
        10,
        steps,
        List.of());
  }

  @Test
  void at_noExits_isEmpty() {
    ExitsConfig none = exits(List.of(), List.of(), Curriculum.ROTATIONAL, List.of(), 7);
    assertThat(ExitWeights.at(none, 3)).isEmpty();
  }

  @Test
  void at_stepZero_isRefused() {
    assertThatThrownBy(() -> warming(Curriculum.LINEAR, 0)).hasMessageContaining("step 0");
  }
}
