package org.eellm.schedule;

import static java.util.Objects.requireNonNull;
import static org.eellm.schedule.ScheduleException.require;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.eellm.schedule.Action.Backward;
import org.eellm.schedule.Action.BackwardWeights;
import org.eellm.schedule.Action.Compute;
import org.eellm.schedule.Action.Forward;
import org.eellm.schedule.Action.Receive;
import org.eellm.schedule.Action.Send;
import org.eellm.schedule.Action.Tune;
import org.eellm.schedule.MicrobatchId.CooldownFill;
import org.eellm.schedule.MicrobatchId.Regular;
import org.eellm.schedule.MicrobatchId.WarmupFill;
import org.eellm.schedule.StageMessages.Channel;

/**
 * Says whether a schedule can be run, and is the step it claims to be:
 *
 * <ul>
 *   <li>every microbatch does on every virtual stage of its path what belongs there, once, and
 *       nothing elsewhere; so each send has its receive;
 *   <li>a stage goes forward before it goes back, posts a receive before it waits for it, and sends
 *       what it has computed;
 *   <li>between two stages the receives are posted in the order of the sends, as NCCL tells
 *       messages apart by their order alone;
 *   <li>no stages wait for each other for ever.
 * </ul>
 */
public final class ScheduleValidator {
  private final Schedule schedule;
  private final StageMessages messages;

  private ScheduleValidator(Schedule schedule) {
    this.schedule = schedule;
    messages = new StageMessages(schedule.stages(), schedule.chunks());
  }

  /**
   * Checks a schedule, with a queue for each direction between two stages.
   *
   * @throws ScheduleException if it is broken; the message says what, and on which stage
   */
  public static void check(Schedule schedule) {
    check(schedule, MessageQueues.PER_DIRECTION);
  }

  /** {@link #check(Schedule)} with any queues. */
  public static void check(Schedule schedule, MessageQueues queues) {
    require(
        schedule.stages() >= 1 && schedule.actions().size() == schedule.stages(),
        () ->
            "%d lists of actions for %d stages"
                .formatted(schedule.actions().size(), schedule.stages()));
    ScheduleValidator validator = new ScheduleValidator(schedule);
    Set<MicrobatchId> ids = validator.checkIdentities();
    for (int stage = 0; stage < schedule.stages(); stage++) {
      Map<Action, Integer> places = validator.checkOnce(stage);
      validator.checkComplete(stage, ids, places.keySet());
      validator.checkOrder(stage, places);
    }
    validator.checkChannels();
    Timeline.of(schedule, Costs.equal(schedule.virtualStages(), 1, 1), queues);
  }

  /** Regular microbatches are 0 to M-1, fills go on from M, and each index is one microbatch. */
  private Set<MicrobatchId> checkIdentities() {
    Set<MicrobatchId> ids = new TreeSet<>(Comparator.comparingInt(MicrobatchId::index));
    for (List<Action> actions : schedule.actions()) {
      for (Action action : actions) {
        ids.add(action.microbatch());
      }
    }
    int regular = schedule.microbatches();
    int expected = 0;
    for (MicrobatchId id : ids) {
      int missing = expected++;
      require(id.index() == missing, () -> "microbatch %d is missing".formatted(missing));
      require(
          id instanceof Regular == id.index() < regular,
          () ->
              "%s is among indexes of the other kind; the regular ones are 0 to %d"
                  .formatted(ActionNames.of(id), regular - 1));
      requireDepth(id);
    }
    int found = ids.size();
    require(found >= regular, () -> "microbatch %d is missing".formatted(found));
    return ids;
  }

  private void requireDepth(MicrobatchId id) {
    int virtualStages = schedule.virtualStages();
    boolean fits =
        switch (id) {
          case Regular _ -> true;
          case WarmupFill(_, int stages) -> stages >= 1 && stages < virtualStages;
          case CooldownFill(_, int firstStage) -> firstStage >= 1 && firstStage < virtualStages;
        };
    require(
        fits,
        () -> "%s does not fit %d virtual stages".formatted(ActionNames.of(id), virtualStages));
  }

  /** The place of every action in a stage's list. */
  private Map<Action, Integer> checkOnce(int stage) {
    Map<Action, Integer> places = new LinkedHashMap<>();
    for (Action action : schedule.actions().get(stage)) {
      require(
          places.putIfAbsent(action, places.size()) == null,
          () -> "stage %d: %s is there twice".formatted(stage, ActionNames.of(action)));
    }
    return places;
  }

  private void checkComplete(int stage, Set<MicrobatchId> ids, Set<Action> found) {
    Set<Action> expected = new LinkedHashSet<>();
    for (Compute compute : computes(stage, ids)) {
      messages.receiveOf(compute, stage).ifPresent(expected::add);
      expected.add(compute);
      messages.sendOf(compute, stage).ifPresent(expected::add);
    }
    for (Action action : expected) {
      require(
          found.contains(action),
          () -> "stage %d: %s is missing".formatted(stage, ActionNames.of(action)));
    }
    for (Action action : found) {
      require(
          expected.contains(action),
          () -> "stage %d: %s does not belong there".formatted(stage, ActionNames.of(action)));
    }
  }

  private List<Compute> computes(int stage, Set<MicrobatchId> ids) {
    List<Compute> computes = new ArrayList<>();
    for (MicrobatchId id : ids) {
      for (int chunk = 0; chunk < schedule.chunks(); chunk++) {
        int virtualStage = schedule.virtualStage(stage, chunk);
        if (virtualStage >= id.forwardEnd(schedule.virtualStages())) {
          continue;
        }
        if (schedule.kind() == ScheduleKind.TUNING) {
          computes.add(new Tune(id, chunk));
        } else {
          computes.add(new Forward(id, chunk));
          if (id.hasBackwardOn(virtualStage)) {
            computes.add(new Backward(id, chunk));
            if (schedule.kind().splitsBackward()) {
              computes.add(new BackwardWeights(id, chunk));
            }
          }
        }
      }
    }
    return computes;
  }

  private void checkOrder(int stage, Map<Action, Integer> places) {
    for (Action action : places.keySet()) {
      if (action instanceof Compute compute) {
        messages
            .receiveOf(compute, stage)
            .ifPresent(receive -> requireOrder(receive, compute, stage, places));
        messages
            .sendOf(compute, stage)
            .ifPresent(send -> requireOrder(compute, send, stage, places));
        if (compute instanceof Backward(var id, int chunk)) {
          requireOrder(new Forward(id, chunk), compute, stage, places);
        }
        if (compute instanceof BackwardWeights(var id, int chunk)) {
          requireOrder(new Backward(id, chunk), compute, stage, places);
        }
      }
    }
  }

  private static void requireOrder(
      Action first, Action second, int stage, Map<Action, Integer> places) {
    require(
        requireNonNull(places.get(first)) < requireNonNull(places.get(second)),
        () ->
            "stage %d: %s comes after %s which needs it"
                .formatted(stage, ActionNames.of(first), ActionNames.of(second)));
  }

  private void checkChannels() {
    Map<Channel, List<Receive>> sent = new HashMap<>();
    Map<Channel, List<Receive>> posted = new HashMap<>();
    for (int stage = 0; stage < schedule.stages(); stage++) {
      for (Action action : schedule.actions().get(stage)) {
        switch (action) {
          case Send send ->
              sent.computeIfAbsent(messages.channel(send, stage), _ -> new ArrayList<>())
                  .add(messages.matchingReceive(send, stage));
          case Receive receive ->
              posted
                  .computeIfAbsent(messages.channel(receive, stage), _ -> new ArrayList<>())
                  .add(receive);
          case Compute _ -> {}
        }
      }
    }
    sent.forEach(
        (channel, messagesSent) -> {
          Iterator<Receive> receives = requireNonNull(posted.get(channel)).iterator();
          for (Receive expected : messagesSent) {
            Receive receive = receives.next();
            require(
                receive.equals(expected),
                () ->
                    "stage %d: %s is posted where %s is next, as stage %d sends"
                        .formatted(
                            channel.to(),
                            ActionNames.of(receive),
                            ActionNames.of(expected),
                            channel.from()));
          }
        });
  }
}
