package org.eellm.schedule;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.schedule.Action.Compute;
import org.eellm.schedule.Action.Receive;
import org.eellm.schedule.Action.Send;
import org.eellm.schedule.Action.SendActivation;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

final class CompletedSendsTest {
  private static final int TRIALS = 60;

  @ParameterizedTest
  @EnumSource
  void of_everyShape_provesOnlyWhatHasArrived(ScheduleKind kind) {
    Random random = new Random(5);
    assertThat(RandomSchedules.of(kind, TRIALS)).allSatisfy(s -> check(s, random));
  }

  @Test
  void of_anyFills_provesOnlyWhatHasArrived() {
    Random random = new Random(6);
    assertThat(RandomSchedules.filled(TRIALS)).allSatisfy(s -> check(s, random));
  }

  /**
   * Whatever the stages' speeds: when a stage computes with a message, the peers have begun to
   * compute with all that this proves to have arrived.
   */
  private static void check(Schedule schedule, Random random) {
    Costs costs = costs(schedule, random);
    Timeline timeline = Timeline.of(schedule, costs);
    StageMessages messages = new StageMessages(schedule.stages(), schedule.chunks());
    List<Map<Receive, Timeline.Span>> uses =
        IntStream.range(0, schedule.stages())
            .<Map<Receive, Timeline.Span>>mapToObj(_ -> new HashMap<>())
            .toList();
    for (Timeline.Span span : timeline.spans()) {
      messages
          .receiveOf(span.action(), span.stage())
          .ifPresent(receive -> uses.get(span.stage()).put(receive, span));
    }
    for (int stage = 0; stage < schedule.stages(); stage++) {
      Set<Send> proven = new HashSet<>();
      for (var receipt : CompletedSends.of(schedule, stage).proven().entrySet()) {
        Timeline.Span use = requireNonNull(uses.get(stage).get(receipt.getKey()));
        double known = use.start() + (costs.headsWait() ? 0 : use.heads());
        for (Send send : receipt.getValue()) {
          assertThat(proven.add(send)).as("%s is proven once", send).isTrue();
          int peer = messages.channel(send, stage).to();
          Receive matchingReceive = messages.matchingReceive(send, stage);
          assertThat(requireNonNull(uses.get(peer).get(matchingReceive)).end())
              .as("%s of stage %d by %s", send, stage, receipt.getKey())
              .isLessThanOrEqualTo(known);
        }
      }
    }
  }

  private static Costs costs(Schedule schedule, Random random) {
    List<Double> forward =
        Stream.generate(() -> random.nextDouble(0.1, 2)).limit(schedule.virtualStages()).toList();
    List<Double> backward =
        Stream.generate(() -> random.nextDouble(0.1, 2)).limit(schedule.virtualStages()).toList();
    List<Double> heads =
        Stream.generate(() -> random.nextDouble(2)).limit(schedule.virtualStages()).toList();
    List<Double> weights = backward.stream().map(cost -> cost * random.nextDouble()).toList();
    return new Costs(forward, backward, weights, heads, random.nextBoolean(), random.nextDouble());
  }

  @Test
  void of_1f1b_leavesAsManySendsOpenAsMicrobatchesAreLive() {
    int stages = 4;
    Schedule schedule = Schedules.emit(ScheduleKind.ONE_F_ONE_B, stages, 1, 64);
    StageMessages messages = new StageMessages(stages, 1);
    for (int stage = 0; stage < stages; stage++) {
      CompletedSends receipts = CompletedSends.of(schedule, stage);
      Set<Send> open = new HashSet<>();
      for (Action action : schedule.actions().get(stage)) {
        if (action instanceof Send send) {
          open.add(send);
        } else if (action instanceof Compute compute) {
          messages
              .receiveOf(compute, stage)
              .ifPresent(receive -> receipts.of(receive).forEach(open::remove));
        }
        long activations = open.stream().filter(SendActivation.class::isInstance).count();
        assertThat(activations).isLessThanOrEqualTo(stages - stage);
        // Gradients of the last backward passes are followed by nothing that could prove them.
        assertThat(open.size() - activations).isLessThanOrEqualTo(stages);
      }
    }
  }
}
