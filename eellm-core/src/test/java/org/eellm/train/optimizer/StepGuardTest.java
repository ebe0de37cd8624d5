package org.eellm.train.optimizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Random;
import org.eellm.config.TrainConfig;
import org.eellm.train.TrainConfigs;
import org.eellm.train.TrainException;
import org.eellm.train.optimizer.StepGuard.State;
import org.eellm.train.optimizer.StepGuard.UpdateDecision;
import org.junit.jupiter.api.Test;

class StepGuardTest {
  private static final TrainConfig TRAIN = TrainConfigs.guards(3, 4.0, 8);

  @Test
  void judge_notFinite_skipsAndCounts() {
    StepGuard guard = new StepGuard(TRAIN, State.initial());
    assertThat(guard.judge(1, Double.NaN, 1)).isEqualTo(UpdateDecision.SKIP_NOT_FINITE);
    assertThat(guard.judge(2, 1, Double.POSITIVE_INFINITY))
        .isEqualTo(UpdateDecision.SKIP_NOT_FINITE);
    assertThat(guard.judge(3, 1, 1)).isEqualTo(UpdateDecision.APPLY);
    assertThat(guard.judge(4, Double.NaN, Double.NaN)).isEqualTo(UpdateDecision.SKIP_NOT_FINITE);
    assertThat(guard.state().notFinite()).isEqualTo(3);
    assertThat(guard.state().badStreak()).isEqualTo(1);
  }

  @Test
  void judge_tooManyNotFiniteInARow_namesStepAndLoss() {
    StepGuard guard = new StepGuard(TRAIN, State.initial());
    guard.judge(7, Double.NaN, 1);
    guard.judge(8, Double.NaN, 1);
    assertThatThrownBy(() -> guard.judge(9, Double.NaN, 1))
        .isInstanceOf(TrainException.class)
        .hasMessageContaining("step 9: loss NaN")
        .hasMessageContaining("3 steps in a row")
        .hasMessageContaining("train.max_bad_steps");
  }

  @Test
  void judge_spikeAfterFullWindow_skips() {
    StepGuard guard = filled();
    assertThat(guard.judge(9, 1, 100)).isEqualTo(UpdateDecision.SKIP_SPIKE);
    assertThat(guard.judge(10, 1, 1.05)).isEqualTo(UpdateDecision.APPLY);
    assertThat(guard.state().spikes()).isEqualTo(1);
    assertThat(guard.skipped()).isEqualTo(1);
  }

  @Test
  void judge_spikeBeforeWindowIsFull_applies() {
    StepGuard guard = new StepGuard(TRAIN, State.initial());
    for (int step = 1; step < 8; step++) {
      guard.judge(step, 1, 1);
    }
    assertThat(guard.judge(8, 1, 100)).isEqualTo(UpdateDecision.APPLY);
  }

  @Test
  void judge_secondSpikeSoonAfterTheFirst_isStillSeen() {
    StepGuard guard = filled();
    assertThat(guard.judge(9, 1, 1e9)).isEqualTo(UpdateDecision.SKIP_SPIKE);
    assertThat(guard.judge(10, 1, 1e9)).isEqualTo(UpdateDecision.SKIP_SPIKE);
  }

  @Test
  void judge_lastingRise_isAcceptedAfterAWhile() {
    StepGuard guard = filled();
    int skipped = 0;
    while (guard.judge(9 + skipped, 1, 3) == UpdateDecision.SKIP_SPIKE) {
      skipped++;
    }
    assertThat(skipped).isBetween(1, 20);
  }

  @Test
  void judge_norm_thatHardlyVaries_makesNoSpikeOfRounding() {
    StepGuard guard = new StepGuard(TRAIN, State.initial());
    for (int step = 1; step <= 8; step++) {
      guard.judge(step, 1, 1);
    }
    assertThat(guard.judge(9, 1, 1.0000001)).isEqualTo(UpdateDecision.APPLY);
  }

  @Test
  void judge_thresholdZero_neverSkipsFiniteSteps() {
    StepGuard guard = new StepGuard(TrainConfigs.guards(3, 0, 8), State.initial());
    for (int step = 1; step <= 20; step++) {
      assertThat(guard.judge(step, 1, Math.exp(step))).isEqualTo(UpdateDecision.APPLY);
    }
  }

  @Test
  void state_carriedToAnotherGuard_givesTheSameVerdicts() {
    Random random = new Random(1);
    StepGuard undisturbed = new StepGuard(TRAIN, State.initial());
    StepGuard resumed = new StepGuard(TRAIN, State.initial());
    for (int step = 1; step <= 200; step++) {
      double norm = random.nextInt(12) == 0 ? 50 * random.nextDouble() : 1 + random.nextDouble();
      resumed = new StepGuard(TRAIN, resumed.state());
      assertThat(resumed.judge(step, 1, norm)).isEqualTo(undisturbed.judge(step, 1, norm));
    }
    assertThat(resumed.state()).isEqualTo(undisturbed.state());
    assertThat(undisturbed.state().spikes()).isPositive();
  }

  /** A guard whose window holds eight norms between 1 and 1.14. */
  private static StepGuard filled() {
    StepGuard guard = new StepGuard(TRAIN, State.initial());
    for (int step = 1; step <= 8; step++) {
      guard.judge(step, 1, 1 + 0.02 * (step - 1));
    }
    return guard;
  }
}
