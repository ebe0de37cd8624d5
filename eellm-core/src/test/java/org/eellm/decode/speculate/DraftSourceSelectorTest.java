package org.eellm.decode.speculate;

import static org.assertj.core.api.Assertions.assertThat;

import org.eellm.decode.speculate.DraftSourceSelector.Drafter;
import org.junit.jupiter.api.Test;

final class DraftSourceSelectorTest {
  private final DraftSourceSelector contest = new DraftSourceSelector();
  private long nanos;

  /** Steps in which each drafter gives so many tokens; how many of the steps exits had. */
  private int run(int steps, int ofExits, int ofText) {
    int exits = 0;
    for (int i = 0; i < steps; i++) {
      contest.begin(nanos);
      boolean isExits = contest.drafter() == Drafter.EXITS;
      exits += isExits ? 1 : 0;
      contest.add(isExits ? ofExits : ofText);
      nanos += 1000;
    }
    return exits;
  }

  @Test
  void drafter_oneIsFaster_hasAllPeriodsButTrials() {
    int steps = 40 * DraftSourceSelector.STEPS;

    assertThat(run(steps, 5, 8)).isBetween(steps / 40, steps / 8);
    assertThat(run(2 * steps, 9, 8)).isBetween(2 * steps / 2, 2 * steps * 39 / 40);
  }

  @Test
  void drafter_oneStaysFaster_trialsBecomeRare() {
    run(8 * DraftSourceSelector.STEPS, 5, 8);

    int early = run(64 * DraftSourceSelector.STEPS, 5, 8);
    int late = run(64 * DraftSourceSelector.STEPS, 5, 8);

    assertThat(early).isGreaterThan(2 * DraftSourceSelector.STEPS);
    assertThat(late).isEqualTo(2 * DraftSourceSelector.STEPS);
  }

  @Test
  void drafter_atFirst_bothAreTried() {
    run(DraftSourceSelector.STEPS, 5, 1);
    assertThat(contest.drafter()).isEqualTo(Drafter.EXITS);
    run(1, 5, 1);
    assertThat(contest.drafter()).isEqualTo(Drafter.TEXT);
    run(DraftSourceSelector.STEPS, 5, 1);
    assertThat(contest.drafter()).isEqualTo(Drafter.EXITS);
  }

  @Test
  void pause_withinAPeriod_forgetsWhatCameBefore() {
    run(DraftSourceSelector.STEPS - 1, 100, 0);
    contest.pause();
    run(2 * DraftSourceSelector.STEPS + 1, 5, 6);

    assertThat(contest.drafter()).isEqualTo(Drafter.TEXT);
  }
}
