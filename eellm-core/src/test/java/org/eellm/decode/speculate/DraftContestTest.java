package org.eellm.decode.speculate;

import static org.assertj.core.api.Assertions.assertThat;

import org.eellm.decode.speculate.DraftContest.Way;
import org.junit.jupiter.api.Test;

final class DraftContestTest {
  private final DraftContest contest = new DraftContest();
  private long nanos;

  /** Steps in which each way gives so many tokens; how many of the steps exits had. */
  private int run(int steps, int ofExits, int ofText) {
    int exits = 0;
    for (int i = 0; i < steps; i++) {
      contest.begin(nanos);
      boolean isExits = contest.way() == Way.EXITS;
      exits += isExits ? 1 : 0;
      contest.add(isExits ? ofExits : ofText);
      nanos += 1000;
    }
    return exits;
  }

  @Test
  void way_oneIsFaster_hasAllTurnsButTrials() {
    int steps = 40 * DraftContest.STEPS;

    assertThat(run(steps, 5, 8)).isBetween(steps / 16, steps / 4);
    assertThat(run(steps, 9, 8)).isBetween(steps * 3 / 4, steps * 15 / 16);
  }

  @Test
  void way_atFirst_bothAreTried() {
    run(DraftContest.STEPS, 5, 1);
    assertThat(contest.way()).isEqualTo(Way.EXITS);
    run(1, 5, 1);
    assertThat(contest.way()).isEqualTo(Way.TEXT);
    run(DraftContest.STEPS, 5, 1);
    assertThat(contest.way()).isEqualTo(Way.EXITS);
  }

  @Test
  void pause_withinATurn_forgetsWhatCameBefore() {
    run(DraftContest.STEPS - 1, 100, 0);
    contest.pause();
    run(2 * DraftContest.STEPS + 1, 5, 6);

    assertThat(contest.way()).isEqualTo(Way.TEXT);
  }
}
