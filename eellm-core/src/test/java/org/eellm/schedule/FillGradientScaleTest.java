package org.eellm.schedule;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import java.util.Random;
import java.util.function.ToLongFunction;
import java.util.stream.IntStream;
import org.eellm.schedule.MicrobatchId.CooldownFill;
import org.eellm.schedule.MicrobatchId.Regular;
import org.eellm.schedule.MicrobatchId.WarmupFill;
import org.junit.jupiter.api.Test;

final class FillGradientScaleTest {

  @Test
  void weights_ofEveryHeadAndParameter_sumToOne() {
    Random random = new Random(1);
    for (int trial = 0; trial < 300; trial++) {
      Schedule schedule = filled(random);
      int empty = random.nextInt(2, 5); // some microbatches have nothing that counts
      ToLongFunction<MicrobatchId> counted =
          id -> id.index() % empty == 1 ? 0 : 10 + 7L * id.index();
      FillGradientScale scale = FillGradientScale.of(schedule, counted);
      for (int head = 0; head < schedule.stages(); head++) {
        for (int parameter = 0; parameter <= head; parameter++) {
          assertThat(sumOfWeights(schedule, scale, counted, head, parameter))
              .as("head on %d, parameter on %d of %s", head, parameter, schedule.microbatchIds())
              .isCloseTo(1, within(1e-12));
        }
      }
    }
  }

  /** What the gradients of a head with respect to a parameter are multiplied by on their way. */
  private static double sumOfWeights(
      Schedule schedule,
      FillGradientScale scale,
      ToLongFunction<MicrobatchId> counted,
      int head,
      int parameter) {
    double sum = 0;
    for (MicrobatchId id : schedule.microbatchIds()) {
      if (head < id.forwardEnd(schedule.stages()) && parameter >= id.backwardEnd()) {
        double weight = counted.applyAsLong(id) * scale.headScale(id, head);
        for (int stage = head - 1; stage >= parameter; stage--) {
          weight *= scale.stageBoundaryScale(stage);
        }
        sum += weight;
      }
    }
    return sum;
  }

  private static Schedule filled(Random random) {
    int stages = random.nextInt(2, 9);
    return Schedules.emit(
        ScheduleKind.ONE_F_ONE_B,
        stages,
        1,
        random.nextInt(1, 33),
        new Fills(depths(random, stages), depths(random, stages)));
  }

  private static List<Integer> depths(Random random, int stages) {
    return IntStream.range(0, random.nextInt(5)).mapToObj(_ -> random.nextInt(1, stages)).toList();
  }

  @Test
  void scales_noFills_areOneOverMicrobatchesAndOne() {
    FillGradientScale scale =
        FillGradientScale.of(Schedules.emit(ScheduleKind.ONE_F_ONE_B, 4, 1, 8), _ -> 1);
    for (int stage = 0; stage < 3; stage++) {
      assertThat(scale.headScale(new Regular(0), stage)).isEqualTo(1.0 / 8);
      assertThat(scale.stageBoundaryScale(stage)).isEqualTo(1);
    }
  }

  @Test
  void scales_fills_divideByWhatEachStageSaw() {
    Fills fills = new Fills(List.of(2, 1), List.of(2, 3));
    FillGradientScale scale =
        FillGradientScale.of(Schedules.emit(ScheduleKind.ONE_F_ONE_B, 4, 1, 16, fills), _ -> 1);

    assertThat(scale.warmup()).containsExactly(2L, 1L, 0L, 0L);
    assertThat(scale.cooldown()).containsExactly(0L, 0L, 1L, 2L);
    assertThat(scale.headScale(new WarmupFill(16, 2), 0)).isEqualTo(1.0 / 18);
    assertThat(scale.headScale(new Regular(3), 3)).isEqualTo(16.0 / 18 / 16);
    assertThat(scale.headScale(new CooldownFill(18, 2), 3)).isEqualTo(1.0 / 18);
    assertThat(scale.stageBoundaryScale(2)).isEqualTo(18.0 / 17);
    assertThat(scale.stageBoundaryScale(1)).isEqualTo(17.0 / 16);
  }
}
