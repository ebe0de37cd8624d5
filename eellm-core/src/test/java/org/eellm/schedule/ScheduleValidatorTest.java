package org.eellm.schedule;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.schedule.Action.Backward;
import org.eellm.schedule.Action.BackwardWeights;
import org.eellm.schedule.Action.Compute;
import org.eellm.schedule.Action.Forward;
import org.eellm.schedule.Action.ReceiveActivation;
import org.eellm.schedule.Action.ReceiveGradient;
import org.eellm.schedule.Action.SendActivation;
import org.eellm.schedule.Action.SendGradient;
import org.eellm.schedule.Action.Tune;
import org.eellm.schedule.MicrobatchId.CooldownFill;
import org.eellm.schedule.MicrobatchId.Regular;
import org.eellm.schedule.MicrobatchId.WarmupFill;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Real schedules, each broken in one way. */
final class ScheduleValidatorTest {
  private static final Regular THIRD = new Regular(3);
  private static final Schedule PLAIN = Schedules.emit(ScheduleKind.ONE_F_ONE_B, 4, 1, 6);
  private static final Schedule FILLED =
      Schedules.emit(ScheduleKind.ONE_F_ONE_B, 4, 1, 6, new Fills(List.of(2, 1), List.of(2, 3)));

  private static Schedule with(Schedule schedule, Consumer<List<List<Action>>> change) {
    List<List<Action>> actions =
        schedule.actions().stream().collect(Collectors.toCollection(ArrayList::new));
    actions.replaceAll(ArrayList::new);
    change.accept(actions);
    return new Schedule(
        schedule.kind(), schedule.stages(), schedule.chunks(), schedule.microbatches(), actions);
  }

  private static void assertBroken(Schedule schedule, String message) {
    assertThatThrownBy(() -> ScheduleValidator.check(schedule))
        .isInstanceOf(ScheduleException.class)
        .hasMessageContaining(message);
  }

  private static void replace(List<Action> actions, Action old, Action replacement) {
    assertThat(Collections.replaceAll(actions, old, replacement)).isTrue();
  }

  private static void remove(List<Action> actions, Action action) {
    assertThat(actions.remove(action)).isTrue();
  }

  private static void swap(List<Action> actions, Action one, Action other) {
    Collections.swap(actions, actions.indexOf(one), actions.indexOf(other));
  }

  @Test
  void check_sendLost_isFound() {
    assertBroken(
        with(PLAIN, stages -> remove(stages.get(1), new SendActivation(THIRD, 0))),
        "stage 1: the send of the activation of microbatch 3, chunk 0, is missing");
  }

  @Test
  void check_receiveLost_isFound() {
    assertBroken(
        with(PLAIN, stages -> remove(stages.get(2), new ReceiveGradient(THIRD, 0))),
        "stage 2: the receive of the gradient of microbatch 3, chunk 0, is missing");
  }

  @Test
  void check_sendLeadsNowhere_isFound() {
    assertBroken(
        with(PLAIN, stages -> stages.get(0).add(new SendGradient(THIRD, 0))),
        "stage 0: the send of the gradient of microbatch 3, chunk 0, does not belong there");
  }

  @Test
  void check_passTwice_isFound() {
    assertBroken(
        with(PLAIN, stages -> stages.get(3).add(new Forward(THIRD, 0))),
        "stage 3: the forward pass of microbatch 3, chunk 0, is there twice");
  }

  @Test
  void check_backwardBeforeForward_isFound() {
    assertBroken(
        with(
            Schedules.emit(ScheduleKind.ONE_F_ONE_B, 1, 1, 4),
            stages -> swap(stages.get(0), new Forward(THIRD, 0), new Backward(THIRD, 0))),
        "stage 0: the forward pass of microbatch 3, chunk 0, comes after the backward pass of");
  }

  @Test
  void check_sendBeforePass_isFound() {
    assertBroken(
        with(
            PLAIN,
            stages -> swap(stages.get(0), new Forward(THIRD, 0), new SendActivation(THIRD, 0))),
        "stage 0: the forward pass of microbatch 3, chunk 0, comes after the send of");
  }

  @Test
  void check_receivePostedTooLate_isFound() {
    assertBroken(
        with(
            PLAIN,
            stages -> swap(stages.get(3), new Forward(THIRD, 0), new ReceiveActivation(THIRD, 0))),
        "stage 3: the receive of the activation of microbatch 3, chunk 0, comes after");
  }

  @Test
  void check_receivesInAnotherOrderThanSends_isFound() {
    assertBroken(
        with(
            PLAIN,
            stages ->
                swap(
                    stages.get(1),
                    new ReceiveActivation(new Regular(0), 0),
                    new ReceiveActivation(new Regular(1), 0))),
        "stage 1: the receive of the activation of microbatch 1, chunk 0, is posted where the"
            + " receive of the activation of microbatch 0, chunk 0, is next, as stage 0 sends");
  }

  @Test
  void check_fillsBackInTheOrderTheyWent_isFoundAsTheirMessagesCross() {
    Schedule deep =
        Schedules.emit(ScheduleKind.ONE_F_ONE_B, 8, 1, 8, new Fills(List.of(4, 3, 2), List.of()));
    WarmupFill first = new WarmupFill(8, 4);
    WarmupFill second = new WarmupFill(9, 3);
    assertBroken(
        with(
            deep,
            stages -> {
              swap(stages.get(1), new Backward(first, 0), new Backward(second, 0));
              swap(stages.get(1), new SendGradient(first, 0), new SendGradient(second, 0));
              swap(stages.get(1), new ReceiveGradient(first, 0), new ReceiveGradient(second, 0));
            }),
        "is posted where");
  }

  @Test
  void check_stagesWaitForEachOther_isFound() {
    Forward forward0 = new Forward(new Regular(0), 0);
    Forward forward1 = new Forward(new Regular(1), 0);
    Backward backward0 = new Backward(new Regular(0), 0);
    Backward backward1 = new Backward(new Regular(1), 0);
    List<List<Action>> actions =
        new StageMessages(2, 1)
            .addSendRecv(
                List.of(
                    List.of(forward0, backward0, forward1, backward1),
                    List.of(forward0, forward1, backward0, backward1)));
    assertBroken(
        new Schedule(ScheduleKind.ONE_F_ONE_B, 2, 1, 2, actions),
        "stage 0: the backward pass of microbatch 0, chunk 0, waits for ever");
  }

  @Test
  void check_fillGoesTooFar_isFound() {
    WarmupFill fill = new WarmupFill(6, 2);
    assertBroken(
        with(FILLED, stages -> stages.get(2).add(new Forward(fill, 0))),
        "stage 2: the forward pass of warm-up fill 6 through 2 stages, chunk 0, does not belong");
  }

  @Test
  void check_gapStageDoesNotPassAGradientOn_isFound() {
    assertBroken(
        with(FILLED, stages -> remove(stages.get(1), new SendGradient(new WarmupFill(6, 2), 0))),
        "stage 1: the send of the gradient of warm-up fill 6 through 2 stages, chunk 0, is"
            + " missing");
  }

  @Test
  void check_cooldownFillComesBackTooFar_isFound() {
    CooldownFill fill = new CooldownFill(8, 2);
    assertBroken(
        with(FILLED, stages -> stages.get(1).add(new Backward(fill, 0))),
        "stage 1: the backward pass of cool-down fill 8 back to stage 2, chunk 0, does not belong");
  }

  @Test
  void check_fillMeetsAnothersData_isFound() {
    assertBroken(
        with(
            FILLED,
            stages ->
                replace(
                    stages.get(1), new Forward(new WarmupFill(6, 2), 0), new Forward(THIRD, 0))),
        "stage 1: the forward pass of microbatch 3, chunk 0, is there twice");
  }

  @Test
  void check_identities_areChecked() {
    assertBroken(
        with(
            PLAIN,
            stages ->
                replace(
                    stages.get(0), new Forward(THIRD, 0), new Forward(new WarmupFill(3, 1), 0))),
        "warm-up fill 3 through 1 stages is among indexes of the other kind");
    assertBroken(
        new Schedule(ScheduleKind.ONE_F_ONE_B, 4, 1, 7, PLAIN.actions()),
        "microbatch 6 is missing");
    assertBroken(
        new Schedule(ScheduleKind.ONE_F_ONE_B, 4, 1, 5, PLAIN.actions()),
        "microbatch 5 is among indexes of the other kind; the regular ones are 0 to 4");
    assertBroken(
        new Schedule(ScheduleKind.ONE_F_ONE_B, 3, 1, 6, PLAIN.actions()),
        "4 lists of actions for 3 stages");
  }

  @Test
  void check_tuningGoesBack_isFound() {
    Schedule tuning = Schedules.emit(ScheduleKind.TUNING, 2, 1, 4);
    assertBroken(
        with(tuning, stages -> replace(stages.get(1), new Tune(THIRD, 0), new Forward(THIRD, 0))),
        "stage 1: the tuning pass of microbatch 3, chunk 0, is missing");
  }

  @Test
  void check_weightsBeforeBackward_isFound() {
    Schedule schedule = Schedules.emit(ScheduleKind.ZERO_BUBBLE, 2, 1, 2);
    Action weights = new BackwardWeights(new Regular(0), 0);

    assertBroken(
        with(
            schedule,
            stages -> {
              stages.get(1).remove(weights);
              stages.get(1).addFirst(weights);
            }),
        "stage 1: the backward pass of microbatch 0, chunk 0, comes after the weight gradients of"
            + " microbatch 0, chunk 0, which needs it");
  }

  /** Whatever single action is lost, doubled, or moved to another stage: it does not go through. */
  @Test
  void check_anySingleActionLostDoubledOrMoved_isFound() {
    Random random = new Random(3);
    List<Schedule> schedules =
        Stream.of(
                RandomSchedules.filled(30),
                RandomSchedules.of(ScheduleKind.INTERLEAVED, 30),
                RandomSchedules.of(ScheduleKind.ZERO_BUBBLE, 30)
                    .filter(schedule -> schedule.stages() > 1))
            .flatMap(Function.identity())
            .toList();
    for (Schedule schedule : schedules) {
      int stage = random.nextInt(schedule.stages());
      int place = random.nextInt(schedule.actions().get(stage).size());
      Action action = schedule.actions().get(stage).get(place);
      assertBroken(with(schedule, stages -> stages.get(stage).remove(place)), "");
      assertBroken(with(schedule, stages -> stages.get(stage).add(action)), "twice");
      assertBroken(
          with(
              schedule,
              stages -> {
                stages.get(stage).remove(place);
                stages.get((stage + 1) % schedule.stages()).add(action);
              }),
          "stage");
    }
  }

  /** Two neighbouring computations of different microbatches may be swapped, or are found. */
  @Test
  void check_schedulesThatPass_canBeSimulated() {
    Random random = new Random(4);
    RandomSchedules.filled(60)
        .forEach(
            schedule -> {
              int stage = random.nextInt(schedule.stages());
              int place = random.nextInt(schedule.actions().get(stage).size() - 1);
              Schedule changed =
                  with(schedule, stages -> Collections.swap(stages.get(stage), place, place + 1));
              try {
                ScheduleValidator.check(changed);
              } catch (ScheduleException e) {
                assertThat(e).hasMessageContaining("stage");
                return;
              }
              long computes =
                  changed.actions().stream()
                      .flatMap(List::stream)
                      .filter(Compute.class::isInstance)
                      .count();
              Timeline timeline = Timeline.of(changed, Costs.equal(changed.virtualStages(), 1, 2));
              assertThat(timeline.spans()).hasSize((int) computes);
            });
  }

  @ParameterizedTest
  @CsvSource({
    "ONE_F_ONE_B,2,1,4",
    "ONE_F_ONE_B,4,1,8",
    "ONE_F_ONE_B,8,1,16",
    "ALL_FORWARD_ALL_BACKWARD,4,1,8",
    "INTERLEAVED,2,2,4",
    "ZERO_BUBBLE,4,1,8",
  })
  void check_oneQueueForBothDirections_namesWhoWaits(
      ScheduleKind kind, int stages, int chunks, int microbatches) {
    Schedule schedule = Schedules.emit(kind, stages, chunks, microbatches);

    assertThatThrownBy(() -> ScheduleValidator.check(schedule, MessageQueues.PER_PAIR))
        .isInstanceOf(ScheduleException.class)
        .hasMessageMatching(
            "stages \\d and \\d wait for each other for ever: the (send|receive) of .*"
                + " are next in the same queue");
  }

  @Test
  void check_oneQueueForOneDirection_isEnoughForTuning() {
    assertThatCode(
            () ->
                ScheduleValidator.check(
                    Schedules.emit(ScheduleKind.TUNING, 4, 1, 8), MessageQueues.PER_PAIR))
        .doesNotThrowAnyException();
  }
}
