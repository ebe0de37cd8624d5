package org.eellm.schedule;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.schedule.Action.Backward;
import org.eellm.schedule.Action.BackwardWeights;
import org.eellm.schedule.Action.Compute;
import org.eellm.schedule.Action.Forward;
import org.eellm.schedule.Action.Receive;
import org.eellm.schedule.Action.ReceiveActivation;
import org.eellm.schedule.Action.ReceiveGradient;
import org.eellm.schedule.Action.SendActivation;
import org.eellm.schedule.Action.SendGradient;
import org.eellm.schedule.Action.Tune;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

final class SchedulesTest {
  private static final int TRIALS = 150;

  /**
   * A stage's computations: F3 is forward of microbatch 3, B3 backward, W3 its weight gradients;
   * F3.1 is forward of chunk 1.
   */
  private static String computes(Schedule schedule, int stage) {
    return words(schedule, stage, "FBWT");
  }

  /** All actions: > and < mark sends and receives of activations, ) and ( those of gradients. */
  private static String actions(Schedule schedule, int stage) {
    return words(schedule, stage, "FBWT<>()");
  }

  private static String words(Schedule schedule, int stage, String kinds) {
    return schedule.actions().get(stage).stream()
        .map(action -> kind(action) + name(schedule, action))
        .filter(word -> kinds.contains(word.substring(0, 1)))
        .collect(Collectors.joining(" "));
  }

  private static String kind(Action action) {
    return switch (action) {
      case Forward _ -> "F";
      case Backward _ -> "B";
      case BackwardWeights _ -> "W";
      case Tune _ -> "T";
      case ReceiveActivation _ -> "<";
      case SendActivation _ -> ">";
      case ReceiveGradient _ -> "(";
      case SendGradient _ -> ")";
    };
  }

  private static String name(Schedule schedule, Action action) {
    return action.microbatch().index() + (schedule.chunks() == 1 ? "" : "." + action.chunk());
  }

  @ParameterizedTest
  @EnumSource
  void emit_everyShape_isValid(ScheduleKind kind) {
    assertThat(RandomSchedules.of(kind, TRIALS))
        .allSatisfy(
            schedule ->
                assertThatCode(() -> ScheduleValidator.check(schedule))
                    .as("P %d, M %d", schedule.stages(), schedule.microbatches())
                    .doesNotThrowAnyException());
  }

  @Test
  void emit_anyFills_isValid() {
    assertThat(RandomSchedules.filled(TRIALS))
        .allSatisfy(
            schedule ->
                assertThatCode(() -> ScheduleValidator.check(schedule))
                    .as("%s", schedule.microbatchIds())
                    .doesNotThrowAnyException());
  }

  @ParameterizedTest
  @CsvSource({"2,2,4", "2,2,3", "2,3,1", "4,2,10", "3,1,5"})
  void tuning_chunks_isValid(int stages, int chunks, int microbatches) {
    Schedule schedule = Schedules.emit(ScheduleKind.TUNING, stages, chunks, microbatches);

    assertThatCode(() -> ScheduleValidator.check(schedule)).doesNotThrowAnyException();
    assertThat(schedule.actions())
        .allSatisfy(
            actions ->
                assertThat(actions.stream().filter(action -> action instanceof Action.Tune))
                    .hasSize(chunks * microbatches));
  }

  @Test
  void oneForwardOneBackward_stageS_keepsAtMostPMinusSMicrobatches() {
    assertThat(RandomSchedules.of(ScheduleKind.ONE_F_ONE_B, TRIALS))
        .allSatisfy(
            schedule -> {
              Timeline timeline = Timeline.of(schedule, Costs.equal(schedule.stages(), 1, 2));
              for (int stage = 0; stage < schedule.stages(); stage++) {
                assertThat(timeline.peakLive().get(stage))
                    .isEqualTo(Math.min(schedule.stages() - stage, schedule.microbatches()));
              }
            });
  }

  @ParameterizedTest
  @EnumSource(names = {"ALL_FORWARD_ALL_BACKWARD", "ONE_F_ONE_B", "TUNING"})
  void bubbleShare_equalCosts_isTheory(ScheduleKind kind) {
    assertThat(RandomSchedules.of(kind, TRIALS))
        .allSatisfy(
            schedule -> {
              double bubble = schedule.stages() - 1;
              assertThat(bubbleShare(schedule))
                  .isCloseTo(bubble / (schedule.microbatches() + bubble), within(1e-12));
            });
  }

  @Test
  void bubbleShare_interleaved_isSmallerByTheNumberOfChunks() {
    assertThat(RandomSchedules.of(ScheduleKind.INTERLEAVED, TRIALS))
        .allSatisfy(
            schedule -> {
              double bubble = schedule.stages() - 1;
              int passes = schedule.chunks() * schedule.microbatches();
              assertThat(bubbleShare(schedule))
                  .isCloseTo(bubble / (passes + bubble), within(1e-12));
            });
  }

  /** ZB-H1's bubble is (P - 1) (F + B - W), a third of 1F1B's where all three are equal. */
  @Test
  void bubbleShare_zeroBubble_isAThirdAtNoMoreThanPLiveActivations() {
    assertThat(
            RandomSchedules.of(ScheduleKind.ZERO_BUBBLE, TRIALS)
                .filter(schedule -> schedule.microbatches() >= schedule.stages()))
        .allSatisfy(
            schedule -> {
              double bubble = schedule.stages() - 1;
              Timeline timeline = Timeline.of(schedule, Costs.equal(schedule.stages(), 1, 2));
              assertThat(timeline.bubbleShare())
                  .isCloseTo(bubble / (3 * schedule.microbatches() + bubble), within(1e-12));
              assertThat(timeline.peakLive()).allMatch(live -> live == schedule.stages());
            });
  }

  private static double bubbleShare(Schedule schedule) {
    return Timeline.of(schedule, Costs.equal(schedule.virtualStages(), 1, 2)).bubbleShare();
  }

  @Test
  void oneForwardOneBackward_fourStages_isThePapersOrder() {
    Schedule schedule = Schedules.emit(ScheduleKind.ONE_F_ONE_B, 4, 1, 5);

    assertThat(computes(schedule, 0)).isEqualTo("F0 F1 F2 F3 B0 F4 B1 B2 B3 B4");
    assertThat(computes(schedule, 1)).isEqualTo("F0 F1 F2 B0 F3 B1 F4 B2 B3 B4");
    assertThat(computes(schedule, 3)).isEqualTo("F0 B0 F1 B1 F2 B2 F3 B3 F4 B4");
  }

  @Test
  void zeroBubble_fourStages_postponesWeightsByTheStagesNumber() {
    Schedule schedule = Schedules.emit(ScheduleKind.ZERO_BUBBLE, 4, 1, 5);

    assertThat(computes(schedule, 0)).isEqualTo("F0 F1 F2 F3 B0 W0 F4 B1 W1 B2 W2 B3 W3 B4 W4");
    assertThat(computes(schedule, 1)).isEqualTo("F0 F1 F2 B0 F3 B1 W0 F4 B2 W1 B3 W2 B4 W3 W4");
    assertThat(computes(schedule, 3)).isEqualTo("F0 B0 F1 B1 F2 B2 F3 B3 W0 F4 B4 W1 W2 W3 W4");
  }

  @Test
  void zeroBubble_gradient_leavesBeforeTheWeightsAreDone() {
    Schedule schedule = Schedules.emit(ScheduleKind.ZERO_BUBBLE, 2, 1, 2);

    assertThat(actions(schedule, 1)).isEqualTo("<0 F0 <1 B0 )0 F1 B1 )1 W0 W1");
  }

  @Test
  void oneForwardOneBackward_receives_arePostedOneComputationAhead() {
    Schedule schedule = Schedules.emit(ScheduleKind.ONE_F_ONE_B, 3, 1, 3);

    assertThat(actions(schedule, 1))
        .isEqualTo("<0 <1 F0 >0 (0 F1 >1 <2 B0 )0 (1 F2 >2 (2 B1 )1 B2 )2");
  }

  @ParameterizedTest
  @EnumSource(names = {"ALL_FORWARD_ALL_BACKWARD", "ONE_F_ONE_B", "ZERO_BUBBLE", "TUNING"})
  void receives_inFlight_areAtMostTwo(ScheduleKind kind) {
    assertThat(RandomSchedules.of(kind, TRIALS))
        .allSatisfy(
            schedule -> {
              for (int stage = 0; stage < schedule.stages(); stage++) {
                assertThat(receivesInFlight(schedule, stage)).isLessThanOrEqualTo(2);
              }
            });
  }

  /** The most messages at one time that a stage has a buffer for and has not used. */
  private static int receivesInFlight(Schedule schedule, int stage) {
    StageMessages messages = new StageMessages(schedule.stages(), schedule.chunks());
    int inFlight = 0;
    int most = 0;
    for (Action action : schedule.actions().get(stage)) {
      if (action instanceof Receive) {
        inFlight++;
      } else if (action instanceof Compute compute) {
        inFlight -= messages.receiveOf(compute, stage).isPresent() ? 1 : 0;
      }
      most = Math.max(most, inFlight);
    }
    return most;
  }

  @Test
  void fills_triangle_sitInTheBubblesUnderTheirOwnIdentity() {
    Fills fills = new Fills(List.of(2, 1), List.of(2, 3));
    Schedule schedule = Schedules.emit(ScheduleKind.ONE_F_ONE_B, 4, 1, 5, fills);

    assertThat(computes(schedule, 0)).isEqualTo("F0 F1 F2 F3 F5 F6 B6 B5 B0 F4 B1 F7 B2 F8 B3 B4");
    assertThat(computes(schedule, 1)).isEqualTo("F0 F1 F2 F5 B5 B0 F3 B1 F4 B2 F7 B3 F8 B4");
    assertThat(computes(schedule, 2)).isEqualTo("F0 F1 B0 F2 B1 F3 B2 F4 B3 F7 B4 F8 B7");
    assertThat(computes(schedule, 3)).isEqualTo("F0 B0 F1 B1 F2 B2 F3 B3 F4 B4 F7 B7 F8 B8");
  }

  @Test
  void fills_warmup_isReceivedInTheOrderItWasSentAndUsedWhenItsTurnComes() {
    Fills fills = new Fills(List.of(2), List.of());
    Schedule schedule = Schedules.emit(ScheduleKind.ONE_F_ONE_B, 3, 1, 3, fills);

    assertThat(actions(schedule, 0)).isEqualTo("F0 >0 F1 >1 F2 >2 (3 F3 >3 (0 B3 (1 B0 (2 B1 B2");
    assertThat(actions(schedule, 1))
        .isEqualTo("<0 <1 F0 >0 <2 <3 F1 >1 F3 (0 B3 )3 B0 )0 (1 F2 >2 (2 B1 )1 B2 )2");
  }

  @Test
  void interleaved_twoChunks_goesInGroups() {
    Schedule schedule = Schedules.emit(ScheduleKind.INTERLEAVED, 2, 2, 4);

    assertThat(computes(schedule, 1))
        .isEqualTo(
            "F0.0 F1.0 F0.1 B0.1 F1.1 B1.1 F2.0 B0.0 F3.0 B1.0 F2.1 B2.1 F3.1 B3.1 B2.0 B3.0");
  }

  @Test
  void tuning_sendsNothingBack() {
    Schedule schedule = Schedules.emit(ScheduleKind.TUNING, 2, 1, 2);

    assertThat(actions(schedule, 0)).isEqualTo("T0 >0 T1 >1");
    assertThat(actions(schedule, 1)).isEqualTo("<0 <1 T0 T1");
  }

  @Test
  void allForwardAllBackward_goesBackInTheSameOrder() {
    Schedule schedule = Schedules.emit(ScheduleKind.ALL_FORWARD_ALL_BACKWARD, 2, 1, 3);

    assertThat(computes(schedule, 0)).isEqualTo("F0 F1 F2 B0 B1 B2");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          ONE_F_ONE_B | 0 | 1 | 8  | 0 pipeline stages are too few; use 1 or more
          ONE_F_ONE_B | 4 | 1 | 0  | 0 microbatches are too few; use 1 or more
          ONE_F_ONE_B | 4 | 2 | 8  | 2 chunks a stage with a schedule of 1F1B; use 1 chunk
          INTERLEAVED | 4 | 1 | 8  | an interleaved schedule with 1 chunks a stage
          INTERLEAVED | 1 | 2 | 8  | an interleaved schedule of 1 stage; use 2 stages or more
          INTERLEAVED | 4 | 2 | 10 | and 10 are no whole number of them; use 8 or 12 microbatches
          INTERLEAVED | 4 | 2 | 3  | and 3 are no whole number of them; use 4 microbatches
          """)
  void emit_impossibleShape_namesTheNumbersAndOneThatWorks(
      ScheduleKind kind, int stages, int chunks, int microbatches, String message) {
    assertThatThrownBy(() -> Schedules.emit(kind, stages, chunks, microbatches))
        .isInstanceOf(ScheduleException.class)
        .hasMessageContaining(message);
  }

  @Test
  void emit_impossibleFills_areRefused() {
    Fills deep = new Fills(List.of(4), List.of());
    Fills whole = new Fills(List.of(), List.of(0));
    Fills one = new Fills(List.of(1), List.of());
    assertThatThrownBy(() -> Schedules.emit(ScheduleKind.ONE_F_ONE_B, 4, 1, 8, deep))
        .hasMessage("a warm-up fill through 4 of 4 stages; use at least 1 and at most 3");
    assertThatThrownBy(() -> Schedules.emit(ScheduleKind.ONE_F_ONE_B, 4, 1, 8, whole))
        .hasMessage("a cool-down fill back to stage 0 of 0 to 3; use at least 1 and at most 3");
    assertThatThrownBy(() -> Schedules.emit(ScheduleKind.ONE_F_ONE_B, 1, 1, 8, one))
        .hasMessage("a pipeline of one stage has no bubble to fill; use no fills");
    assertThat(
            Stream.of(
                ScheduleKind.ALL_FORWARD_ALL_BACKWARD,
                ScheduleKind.ZERO_BUBBLE,
                ScheduleKind.TUNING))
        .allSatisfy(
            kind ->
                assertThatThrownBy(() -> Schedules.emit(kind, 4, 1, 8, one))
                    .hasMessageContaining("cannot be filled; use 1F1B, or no fills"));
  }
}
