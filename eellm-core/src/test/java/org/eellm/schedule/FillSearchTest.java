package org.eellm.schedule;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Random;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import org.eellm.schedule.FillSearch.Count;
import org.eellm.schedule.FillSearch.Count.Automatic;
import org.eellm.schedule.FillSearch.Count.Exactly;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class FillSearchTest {
  private static final Count AUTOMATIC = new Automatic();
  private static final Count NONE = new Exactly(0);
  private static final double ROUNDING = 1e-9;

  private static double makespan(int stages, int microbatches, Fills fills, Costs costs) {
    Schedule schedule = Schedules.emit(ScheduleKind.ONE_F_ONE_B, stages, 1, microbatches, fills);
    return Timeline.of(schedule, costs).makespan();
  }

  private static List<Integer> allStages(int stages) {
    return IntStream.range(0, stages).boxed().toList();
  }

  /** Of the paper's fills, stage r sees K - r in warm-up and floor(r b / (f+b)) in cool-down. */
  @ParameterizedTest
  @CsvSource({"2, 0", "3, 1", "4, 2", "6, 3", "8, 4"})
  void find_automaticEqualCosts_areThePapers(int stages, int count) {
    Costs costs = Costs.equal(stages, 1, 2);
    Fills fills = FillSearch.find(AUTOMATIC, AUTOMATIC, stages, 16, allStages(stages), costs);
    FillGradientScale seen =
        FillGradientScale.of(
            Schedules.emit(ScheduleKind.ONE_F_ONE_B, stages, 1, 16, fills), _ -> 1);

    for (int stage = 0; stage < stages; stage++) {
      assertThat(seen.warmup().get(stage)).isEqualTo(Math.max(count - stage, 0));
      assertThat(seen.cooldown().get(stage)).isEqualTo(2 * stage / 3);
    }
  }

  @Test
  void find_automatic_isTheMostThatDoNotLengthenTheStep() {
    Random random = new Random(5);
    for (int trial = 0; trial < 60; trial++) {
      int stages = random.nextInt(2, 9);
      int microbatches = random.nextInt(1, 17);
      Costs costs = randomCosts(stages, random);
      Fills fills = FillSearch.find(AUTOMATIC, AUTOMATIC, stages, microbatches, List.of(0), costs);
      double limit = makespan(stages, microbatches, Fills.none(), costs) + ROUNDING;

      assertThat(makespan(stages, microbatches, fills, costs)).isLessThanOrEqualTo(limit);
      Fills warmer =
          new Fills(
              IntStream.rangeClosed(0, fills.warmupStages().size()).mapToObj(_ -> 1).toList(),
              List.of());
      assertThat(makespan(stages, microbatches, warmer, costs)).isGreaterThan(limit);
    }
  }

  private static Costs randomCosts(int stages, Random random) {
    List<Double> none = DoubleStream.generate(() -> 0).limit(stages).boxed().toList();
    return new Costs(
        list(stages, random),
        list(stages, random),
        none,
        list(stages, random),
        random.nextBoolean(),
        random.nextDouble(0.1));
  }

  private static List<Double> list(int size, Random random) {
    return DoubleStream.generate(() -> random.nextDouble(0.5, 2)).limit(size).boxed().toList();
  }

  @Test
  void find_exits_endTheWarmupFills() {
    Costs costs = Costs.equal(8, 1, 2);

    assertThat(FillSearch.find(AUTOMATIC, NONE, 8, 16, List.of(1, 2, 7), costs).warmupStages())
        .isEqualTo(List.of(3, 3, 2));
    assertThat(FillSearch.find(AUTOMATIC, NONE, 8, 16, List.of(7), costs).warmupStages()).isEmpty();
  }

  @Test
  void find_exactly_isHonouredEvenIfTheStepGetsLonger() {
    Costs costs = Costs.equal(4, 1, 2);
    Fills one = FillSearch.find(new Exactly(1), NONE, 4, 8, allStages(4), costs);
    Fills five = FillSearch.find(new Exactly(5), new Exactly(5), 4, 8, allStages(4), costs);

    assertThat(one.warmupStages()).containsExactly(2);
    assertThat(makespan(4, 8, one, costs)).isEqualTo(makespan(4, 8, Fills.none(), costs));
    assertThat(five.warmupStages()).hasSize(5);
    assertThat(five.cooldownFirstStages()).hasSize(5);
    assertThat(makespan(4, 8, five, costs)).isGreaterThan(makespan(4, 8, Fills.none(), costs));
  }

  @Test
  void find_exactlyWhereNoneFits_isRefused() {
    assertThatThrownBy(
            () -> FillSearch.find(new Exactly(2), NONE, 4, 8, List.of(3), Costs.equal(4, 1, 2)))
        .hasMessage("2 warm-up fills need an early exit below the last stage; use none");
    assertThatThrownBy(
            () -> FillSearch.find(NONE, new Exactly(1), 1, 8, List.of(0), Costs.equal(1, 1, 2)))
        .hasMessage("1 cool-down fills need two pipeline stages or more; use none");
    assertThatThrownBy(() -> new Exactly(-1)).hasMessage("-1 fills; use 0 or more");
  }
}
