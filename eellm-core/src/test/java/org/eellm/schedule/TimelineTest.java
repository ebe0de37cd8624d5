package org.eellm.schedule;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.eellm.schedule.Timeline.Span;
import org.junit.jupiter.api.Test;

final class TimelineTest {
  private static final double ROUNDING = 1e-9;

  private static Schedule oneForwardOneBackward(int stages, int microbatches) {
    return Schedules.emit(ScheduleKind.ONE_F_ONE_B, stages, 1, microbatches);
  }

  private static List<String> times(Timeline timeline, int stage) {
    return timeline.spans().stream()
        .filter(span -> span.stage() == stage)
        .map(TimelineTest::times)
        .toList();
  }

  private static String times(Span span) {
    return "%s%d %.0f-%.0f"
        .formatted(
            span.action().getClass().getSimpleName().charAt(0),
            span.action().microbatch().index(),
            span.start(),
            span.end());
  }

  @Test
  void of_oneForwardOneBackward_waitsForMessages() {
    Timeline timeline = Timeline.of(oneForwardOneBackward(2, 2), Costs.equal(2, 1, 2));

    assertThat(times(timeline, 0)).containsExactly("F0 0-1", "F1 1-2", "B0 4-6", "B1 7-9");
    assertThat(times(timeline, 1)).containsExactly("F0 1-2", "B0 2-4", "F1 4-5", "B1 5-7");
    assertThat(timeline.makespan()).isEqualTo(9);
    assertThat(timeline.peakLive()).containsExactly(2, 1);
    assertThat(timeline.idleShare(0)).isCloseTo(3.0 / 9, within(ROUNDING));
    assertThat(timeline.bubbleShare()).isCloseTo(6.0 / 18, within(ROUNDING));
  }

  @Test
  void of_heads_makeTheirStagesBackwardLonger() {
    Costs costs = withHeads(Costs.equal(2, 1, 2), List.of(0.0, 3.0));
    Timeline timeline = Timeline.of(oneForwardOneBackward(2, 2), costs);

    assertThat(times(timeline, 1)).containsExactly("F0 1-2", "B0 2-7", "F1 7-8", "B1 8-13");
    assertThat(timeline.spans())
        .extracting(Span::heads)
        .containsExactly(0., 0., 0., 0., 0., 3., 0., 3.);
  }

  @Test
  void of_headsBeforeTheLastStage_runWhileTheGradientIsOnItsWay() {
    Costs costs = withHeads(Costs.equal(2, 1, 2), List.of(2.0, 3.0));
    Timeline timeline = Timeline.of(oneForwardOneBackward(2, 2), costs);

    assertThat(times(timeline, 1)).containsExactly("F0 1-2", "B0 2-7", "F1 7-8", "B1 8-13");
    assertThat(times(timeline, 0)).containsExactly("F0 0-1", "F1 1-2", "B0 5-9", "B1 11-15");
  }

  @Test
  void of_headsThatLearnFromTheFinalOne_waitForIt() {
    Costs text = withHeads(Costs.equal(2, 1, 2), List.of(2.0, 3.0));
    Costs costs = new Costs(text.forward(), text.backward(), text.weights(), text.heads(), true, 0);
    Timeline timeline = Timeline.of(oneForwardOneBackward(2, 2), costs);

    assertThat(times(timeline, 0)).containsExactly("F0 0-1", "F1 1-2", "B0 7-11", "B1 13-17");
  }

  @Test
  void of_tuning_runsHeadsInEveryPass() {
    Costs costs = withHeads(Costs.equal(2, 1, 2), List.of(1.0, 0.0));
    Timeline timeline = Timeline.of(Schedules.emit(ScheduleKind.TUNING, 2, 1, 3), costs);

    assertThat(times(timeline, 0)).containsExactly("T0 0-2", "T1 2-4", "T2 4-6");
    assertThat(timeline.makespan()).isEqualTo(7);
    assertThat(timeline.peakLive()).containsExactly(0, 0);
  }

  @Test
  void of_transfers_hideBehindComputation() {
    Costs free = Costs.equal(2, 2, 4);
    Costs slow = new Costs(free.forward(), free.backward(), free.weights(), free.heads(), false, 1);
    double without = Timeline.of(oneForwardOneBackward(2, 8), free).makespan();
    double with = Timeline.of(oneForwardOneBackward(2, 8), slow).makespan();

    // The first activation and the last gradient have nothing to hide behind; neither has, in 1F1B
    // on two stages, the gradient that stage 0 waits for each time.
    assertThat(with - without).isLessThanOrEqualTo(2 * 8);
    Schedule all = Schedules.emit(ScheduleKind.ALL_FORWARD_ALL_BACKWARD, 2, 1, 8);
    assertThat(Timeline.of(all, slow).makespan() - Timeline.of(all, free).makespan())
        .isCloseTo(2, within(ROUNDING));
  }

  @Test
  void of_cooldownFill_keepsNoActivationsWhereItDoesNotComeBack() {
    Fills fills = new Fills(List.of(), List.of(3, 3, 3));
    Schedule schedule = Schedules.emit(ScheduleKind.ONE_F_ONE_B, 4, 1, 8, fills);

    assertThat(Timeline.of(schedule, Costs.equal(4, 1, 2)).peakLive()).containsExactly(4, 3, 2, 1);
  }

  @Test
  void of_costsOfAnotherPipeline_areRefused() {
    assertThatThrownBy(() -> Timeline.of(oneForwardOneBackward(4, 8), Costs.equal(3, 1, 2)))
        .hasMessage("costs of 3 virtual stages for a schedule of 4");
  }

  @Test
  void costs_impossible_areRefused() {
    assertThatThrownBy(() -> Costs.equal(2, 0, 1)).hasMessageContaining("use more than 0");
    assertThatThrownBy(() -> Costs.equal(2, 1, -1)).hasMessageContaining("backward cost -1.0");
    assertThatThrownBy(() -> Costs.equal(2, 1, Double.NaN)).hasMessageContaining("NaN");
    assertThatThrownBy(() -> withHeads(Costs.equal(2, 1, 1), List.of(1.0)))
        .hasMessageContaining(
            "2 forward passes, 2 backward passes, 2 weight gradients and 1 heads");
  }

  private static Costs withHeads(Costs costs, List<Double> heads) {
    return new Costs(
        costs.forward(),
        costs.backward(),
        costs.weights(),
        heads,
        costs.headsWait(),
        costs.transfer());
  }
}
