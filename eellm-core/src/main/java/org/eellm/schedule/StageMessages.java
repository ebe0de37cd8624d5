package org.eellm.schedule;

import static java.util.Objects.requireNonNull;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eellm.schedule.Action.Backward;
import org.eellm.schedule.Action.Compute;
import org.eellm.schedule.Action.Forward;
import org.eellm.schedule.Action.Receive;
import org.eellm.schedule.Action.ReceiveActivation;
import org.eellm.schedule.Action.ReceiveGradient;
import org.eellm.schedule.Action.Send;
import org.eellm.schedule.Action.SendActivation;
import org.eellm.schedule.Action.SendGradient;
import org.eellm.schedule.Action.Tune;

/**
 * The messages between the stages of a pipeline: what a computation needs and what it hands on, and
 * where in a stage's list the receives and sends belong.
 *
 * @param stages pipeline stages P
 * @param chunks chunks a stage
 */
record StageMessages(int stages, int chunks) {

  /** From one stage to another; messages on it keep their order. */
  record Channel(int from, int to) {}

  /** A receive at a place among the stage's computations. */
  private record Posting(Receive receive, int before) {}

  /** The message a computation waits for, if it does not begin a path. */
  Optional<Receive> receiveOf(Compute compute, int stage) {
    int virtualStage = virtualStage(compute, stage);
    return switch (compute) {
      case Forward(var id, int chunk) when virtualStage > 0 ->
          Optional.of(new ReceiveActivation(id, chunk));
      case Tune(var id, int chunk) when virtualStage > 0 ->
          Optional.of(new ReceiveActivation(id, chunk));
      case Backward(var id, int chunk) when continuesForward(id, virtualStage) ->
          Optional.of(new ReceiveGradient(id, chunk));
      default -> Optional.empty();
    };
  }

  /** The message a computation hands on, if it does not end a path. */
  Optional<Send> sendOf(Compute compute, int stage) {
    int virtualStage = virtualStage(compute, stage);
    return switch (compute) {
      case Forward(var id, int chunk) when continuesForward(id, virtualStage) ->
          Optional.of(new SendActivation(id, chunk));
      case Tune(var id, int chunk) when continuesForward(id, virtualStage) ->
          Optional.of(new SendActivation(id, chunk));
      case Backward(var id, int chunk) when virtualStage > id.backwardEnd() ->
          Optional.of(new SendGradient(id, chunk));
      default -> Optional.empty();
    };
  }

  /** Where a send of a stage goes. */
  Channel channel(Send send, int stage) {
    return new Channel(stage, Math.floorMod(target(send, stage), stages));
  }

  /** Where a stage's receive comes from. */
  Channel channel(Receive receive, int stage) {
    int from =
        switch (receive) {
          case ReceiveActivation _ -> stage - 1;
          case ReceiveGradient _ -> stage + 1;
        };
    return new Channel(Math.floorMod(from, stages), stage);
  }

  /** The receive that the other end of a send has to post. */
  Receive matchingReceive(Send send, int stage) {
    int chunk = target(send, stage) / stages;
    return switch (send) {
      case SendActivation(var id, _) -> new ReceiveActivation(id, chunk);
      case SendGradient(var id, _) -> new ReceiveGradient(id, chunk);
    };
  }

  /**
   * Adds the receives and sends to the stages' computations. A send follows what it sends. A
   * receive is posted one computation ahead of the one that waits for it, so that the message
   * travels meanwhile. As a channel keeps its order, a receive is posted earlier where a later
   * message of the same channel is needed first.
   */
  List<List<Action>> addSendRecv(List<List<Compute>> computes) {
    Map<Channel, List<Receive>> channels = new LinkedHashMap<>();
    for (int stage = 0; stage < stages; stage++) {
      for (Compute compute : computes.get(stage)) {
        int from = stage;
        sendOf(compute, stage)
            .ifPresent(
                send ->
                    channels
                        .computeIfAbsent(channel(send, from), _ -> new ArrayList<>())
                        .add(matchingReceive(send, from)));
      }
    }
    List<List<Action>> actions = new ArrayList<>();
    for (int stage = 0; stage < stages; stage++) {
      actions.add(addSendRecv(computes.get(stage), stage, channels));
    }
    return actions;
  }

  private List<Action> addSendRecv(
      List<Compute> computes, int stage, Map<Channel, List<Receive>> channels) {
    Map<Receive, Integer> usedAt = new HashMap<>();
    for (int i = 0; i < computes.size(); i++) {
      int place = i;
      receiveOf(computes.get(i), stage).ifPresent(receive -> usedAt.put(receive, place));
    }
    List<Posting> postings = new ArrayList<>();
    channels.forEach(
        (channel, receives) -> {
          if (channel.to() == stage) {
            postings.addAll(postings(receives, usedAt));
          }
        });
    // A channel's postings are ascending already, and this sort keeps their order.
    postings.sort(Comparator.comparingInt(Posting::before));

    List<Action> actions = new ArrayList<>();
    int posted = 0;
    for (int i = 0; i < computes.size(); i++) {
      for (; posted < postings.size() && postings.get(posted).before() == i; posted++) {
        actions.add(postings.get(posted).receive());
      }
      actions.add(computes.get(i));
      sendOf(computes.get(i), stage).ifPresent(actions::add);
    }
    return actions;
  }

  private static List<Posting> postings(List<Receive> receives, Map<Receive, Integer> usedAt) {
    List<Posting> postings = new ArrayList<>();
    int neededAt = Integer.MAX_VALUE;
    for (Receive receive : receives.reversed()) {
      neededAt = Math.min(neededAt, requireNonNull(usedAt.get(receive)));
      postings.add(new Posting(receive, Math.max(neededAt - 1, 0)));
    }
    return postings.reversed();
  }

  private int virtualStage(Action action, int stage) {
    return action.chunk() * stages + stage;
  }

  private boolean continuesForward(MicrobatchId id, int virtualStage) {
    return virtualStage + 1 < id.forwardEnd(stages * chunks);
  }

  private int target(Send send, int stage) {
    int virtualStage = virtualStage(send, stage);
    return switch (send) {
      case SendActivation _ -> virtualStage + 1;
      case SendGradient _ -> virtualStage - 1;
    };
  }
}
