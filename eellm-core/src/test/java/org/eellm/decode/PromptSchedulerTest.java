package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

final class PromptSchedulerTest {
  private static int[] share(int... remaining) {
    return PromptScheduler.share(remaining, 256);
  }

  @Test
  void share_onePrompt_getsAll() {
    assertThat(share(1000)).containsExactly(256);
    assertThat(share(20)).containsExactly(20);
    assertThat(share()).isEmpty();
  }

  @Test
  void share_shortBesideLong_getsAllOfItsRows() {
    assertThat(share(2240, 2240, 20)).containsExactly(236, 0, 20);
    assertThat(share(2240, 1000, 20)).containsExactly(64, 172, 20);
  }

  @Test
  void share_oldestBesideManyShort_getsAQuarter() {
    assertThat(share(2240, 90, 100, 80, 70)).containsExactly(64, 42, 0, 80, 70);
  }

  @Test
  void share_fewRows_leavesFourToTheOldest() {
    assertThat(PromptScheduler.share(new int[] {2240, 90, 100}, 8)).containsExactly(4, 4, 0);
    assertThat(PromptScheduler.share(new int[] {2240, 90}, 4)).containsExactly(4, 0);
  }

  @Test
  void share_anyPrompts_leavesNoRowUnusedAndNoOldestBehind() {
    Random random = new Random(1);
    for (int round = 0; round < 1000; round++) {
      int[] remaining = random.ints(1 + random.nextInt(12), 1, 400).toArray();
      int[] shares = share(remaining);

      assertThat(Arrays.stream(shares).sum())
          .isEqualTo(Math.min(256, Arrays.stream(remaining).sum()));
      assertThat(shares[0]).isGreaterThanOrEqualTo(Math.min(64, remaining[0]));
      for (int i = 0; i < shares.length; i++) {
        assertThat(shares[i]).isBetween(0, remaining[i]);
      }
    }
  }

  /** Costs of steps, in seconds. */
  private record Costs(double plain, double row) {
    double step(int rows, boolean isAlone) {
      return plain + rows * row + (isAlone ? 0 : plain / 10);
    }

    /** Takes steps with as many rows as it is told, and gives the last one's seconds. */
    double learn(PromptScheduler scheduler, boolean isAlone, int steps) {
      scheduler.learn(0, plain);
      double seconds = 0;
      for (int step = 0; step < steps; step++) {
        int rows = scheduler.rows(isAlone);
        seconds = step(rows, isAlone);
        scheduler.learn(rows, seconds);
      }
      return seconds;
    }
  }

  @Test
  void rows_ofRows_areTheSameWhateverStepsTake() {
    PromptScheduler scheduler = PromptScheduler.ofRows();
    new Costs(0.1, 0.1).learn(scheduler, false, 3);
    assertThat(scheduler.rows(false)).isEqualTo(Batch.PROMPT_ROWS);
    assertThat(scheduler.rows(true)).isEqualTo(Batch.PROMPT_ROWS);
  }

  @Test
  void rows_smallModel_letAStepTakeItsTime() {
    for (double row : new double[] {0.0003, 0.001, 0.0014}) {
      Costs costs = new Costs(0.004, row);
      assertThat(costs.learn(PromptScheduler.ofTime(), false, 20)).isBetween(0.033, 0.037);
      assertThat(costs.learn(PromptScheduler.ofTime(), true, 20)).isLessThan(0.102);
    }
  }

  @Test
  void rows_costNothing_areAsManyAsAStepTakes() {
    PromptScheduler scheduler = PromptScheduler.ofTime();
    new Costs(0.001, 1e-6).learn(scheduler, false, 20);
    assertThat(scheduler.rows(false)).isEqualTo(Batch.PROMPT_ROWS);
  }

  @Test
  void rows_largeModel_takeAsLongAsTheTextsBesideThem() {
    PromptScheduler scheduler = PromptScheduler.ofTime();
    Costs costs = new Costs(0.3, 0.01);
    assertThat(costs.learn(scheduler, false, 20)).isBetween(0.55, 0.65);
    assertThat(costs.learn(scheduler, true, 20)).isBetween(1.4, 1.6);

    scheduler = PromptScheduler.ofTime();
    new Costs(0.3, 0.1).learn(scheduler, false, 20);
    assertThat(scheduler.rows(false)).isEqualTo(8);
  }

  /** Later rows of a prompt attend to more positions. */
  @Test
  void rows_costsThatGrow_areFollowed() {
    PromptScheduler scheduler = PromptScheduler.ofTime();
    new Costs(0.004, 0.001).learn(scheduler, false, 20);
    for (int done = 0; done < 4000; ) {
      int rows = scheduler.rows(false);
      double seconds = new Costs(0.004, 0.001 + done * 4e-7).step(rows, false);
      scheduler.learn(rows, seconds);
      done += rows;
      assertThat(seconds).isLessThan(0.04);
    }
  }

  @Test
  void rows_afterAStall_areSoonAsBefore() {
    PromptScheduler scheduler = PromptScheduler.ofTime();
    Costs costs = new Costs(0.004, 0.001);
    costs.learn(scheduler, false, 20);
    int before = scheduler.rows(false);
    scheduler.learn(before, 5);
    assertThat(scheduler.rows(false)).isGreaterThan(before / 2);
    costs.learn(scheduler, false, 5);
    assertThat(scheduler.rows(false)).isBetween(before - 4, before + 4);
  }

  /** The first rows cost nothing while weights come from memory, and clocks are never exact. */
  @Test
  void rows_longPromptAfterManyShortOnes_takesNoStepOfManyTimesTheBound() {
    Random random = new Random(1);
    for (double row : new double[] {0.001, 0.003, 0.008}) {
      PromptScheduler scheduler = PromptScheduler.ofTime();
      for (int text = 0; text < 50; text++) {
        for (int token = 0; token < 20; token++) {
          scheduler.learn(0, 0.025 * (0.8 + 0.4 * random.nextDouble()));
        }
        scheduler.learn(17, (0.025 + 9 * row / 8) * (0.8 + 0.4 * random.nextDouble()));
      }
      for (int step = 0; step < 50; step++) {
        int rows = scheduler.rows(false);
        double seconds = 0.025 + Math.max(0, rows - 8) * row;
        scheduler.learn(rows, seconds);
        assertThat(seconds)
            .as("step %d with %d rows", step, rows)
            .isLessThan(2 * (0.05 + 16 * row));
      }
    }
  }

  /** By a clock that goes on with what steps cost. */
  @Test
  void rows_shortPromptBesideTwoLongOnes_isDoneWithin300Milliseconds() {
    for (double row : new double[] {0.0002, 0.0014, 0.003}) {
      Costs costs = new Costs(0.004, row);
      for (int before = 0; before < 30; before++) {
        PromptScheduler scheduler = PromptScheduler.ofTime();
        costs.learn(scheduler, true, 20);
        int[] left = {2240, 2240, 0};
        for (int step = 0; step < before; step++) {
          step(scheduler, costs, left);
        }
        double waited = step(scheduler, costs, left); // it comes when this one has begun
        left[2] = 20;
        while (left[2] > 0) {
          waited += step(scheduler, costs, left);
        }
        assertThat(waited).as("after %d steps", before).isLessThan(0.3);
      }
    }
  }

  private static double step(PromptScheduler scheduler, Costs costs, int[] left) {
    int[] shares = PromptScheduler.share(left, scheduler.rows(true));
    for (int i = 0; i < left.length; i++) {
      left[i] -= shares[i];
    }
    int rows = Arrays.stream(shares).sum();
    double seconds = costs.step(rows, true);
    scheduler.learn(rows, seconds);
    return seconds;
  }
}
