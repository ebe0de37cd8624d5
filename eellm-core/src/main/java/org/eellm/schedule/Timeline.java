package org.eellm.schedule;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eellm.schedule.Action.Backward;
import org.eellm.schedule.Action.BackwardWeights;
import org.eellm.schedule.Action.Compute;
import org.eellm.schedule.Action.Forward;
import org.eellm.schedule.Action.Receive;
import org.eellm.schedule.Action.Send;
import org.eellm.schedule.Action.Tune;
import org.eellm.schedule.StageMessages.Channel;

/**
 * When everything of a schedule happens, by simulation. A stage does one action after the other;
 * posting a receive and starting a send take no time, and a computation waits for the message it
 * needs; in a backward pass the heads run before it comes, as late as they can here. A message
 * travels from when it is sent, its receive is posted, and the message before it in the same queue
 * has arrived.
 *
 * @param spans all computations, by stage and then by time
 * @param makespan when the last of them ends
 * @param peakLive for each stage, the most chunks of microbatches at one time whose activations
 *     wait for their backward pass or weight gradients
 */
public record Timeline(
    Schedule schedule, List<Span> spans, double makespan, List<Integer> peakLive) {

  /**
   * A computation.
   *
   * @param heads time in which heads run: at the beginning of a backward pass, at the end of a
   *     tuning pass
   */
  public record Span(int stage, Compute action, double start, double end, double heads) {}

  public Timeline {
    spans = List.copyOf(spans);
    peakLive = List.copyOf(peakLive);
  }

  /**
   * Simulates a schedule.
   *
   * @throws ScheduleException if it never ends because stages wait for each other, or the costs are
   *     for another number of virtual stages
   */
  public static Timeline of(Schedule schedule, Costs costs) {
    return of(schedule, costs, MessageQueues.PER_DIRECTION);
  }

  /** {@link #of(Schedule, Costs)} with any queues. */
  static Timeline of(Schedule schedule, Costs costs, MessageQueues queues) {
    if (costs.forward().size() != schedule.virtualStages()) {
      throw new ScheduleException(
          "costs of %d virtual stages for a schedule of %d"
              .formatted(costs.forward().size(), schedule.virtualStages()));
    }
    return new Simulation(schedule, costs, queues).run();
  }

  /** The share of the step in which a stage has nothing to do. */
  public double idleShare(int stage) {
    return 1 - busy(stage) / makespan;
  }

  /** The share of all stages' time in which they have nothing to do: the pipeline's bubbles. */
  public double bubbleShare() {
    return 1
        - spans.stream().mapToDouble(Timeline::duration).sum() / (schedule.stages() * makespan);
  }

  private double busy(int stage) {
    return spans.stream()
        .filter(span -> span.stage() == stage)
        .mapToDouble(Timeline::duration)
        .sum();
  }

  private static double duration(Span span) {
    return span.end() - span.start();
  }

  /** The state while the stages run: how far each has come, and what is under way between them. */
  private static final class Simulation {
    private final Schedule schedule;
    private final Costs costs;
    private final StageMessages messages;
    private final MessageQueues queues;
    private final Map<Channel, Link> links = new LinkedHashMap<>();
    private final Map<Channel, Map<Receive, Double>> arrivals = new HashMap<>();
    private final List<Stage> stages = new ArrayList<>();

    Simulation(Schedule schedule, Costs costs, MessageQueues queues) {
      this.schedule = schedule;
      this.costs = costs;
      this.queues = queues;
      messages = new StageMessages(schedule.stages(), schedule.chunks());
      for (int stage = 0; stage < schedule.stages(); stage++) {
        stages.add(new Stage(stage));
      }
    }

    Timeline run() {
      boolean moved = true;
      while (moved) {
        moved = false;
        for (Stage stage : stages) {
          while (stage.step()) {
            moved = true;
          }
        }
      }
      links.values().forEach(Link::requireEmpty);
      stages.forEach(Stage::requireDone);
      List<Span> spans = stages.stream().flatMap(stage -> stage.spans.stream()).toList();
      return new Timeline(
          schedule,
          spans,
          spans.stream().mapToDouble(Span::end).max().orElse(0),
          stages.stream().map(stage -> stage.peakLive).toList());
    }

    private void start(Action message, Receive receive, Channel channel, double time) {
      boolean sends = message instanceof Send;
      int stage = sends ? channel.from() : channel.to();
      int other = sends ? channel.to() : channel.from();
      links
          .computeIfAbsent(queues.of(channel), _ -> new Link())
          .start(stage < other, new Started(stage, message, receive, channel, time));
    }

    private Optional<Double> arrivalOf(Receive receive, Channel channel) {
      return Optional.ofNullable(arrivals.getOrDefault(channel, Map.of()).get(receive));
    }

    /** A send or receive in its queue; {@code receive} is the one that it belongs to. */
    private record Started(
        int stage, Action message, Receive receive, Channel channel, double time) {
      boolean sends() {
        return message instanceof Send;
      }
    }

    /** A queue: what the two stages have started, each in its order. */
    private final class Link {
      private final Deque<Started> lower = new ArrayDeque<>();
      private final Deque<Started> upper = new ArrayDeque<>();
      private double freeFrom;

      void start(boolean low, Started started) {
        (low ? lower : upper).add(started);
        while (!lower.isEmpty()
            && !upper.isEmpty()
            && lower.element().sends() != upper.element().sends()) {
          Started one = lower.remove();
          Started other = upper.remove();
          freeFrom = Math.max(Math.max(one.time(), other.time()), freeFrom) + costs.transfer();
          arrivals
              .computeIfAbsent(one.channel(), _ -> new HashMap<>())
              .put((one.sends() ? other : one).receive(), freeFrom);
        }
      }

      void requireEmpty() {
        if (!lower.isEmpty() && !upper.isEmpty()) {
          throw new ScheduleException(
              "stages %d and %d wait for each other for ever: %s and %s are next in the same queue"
                  .formatted(
                      lower.element().stage(),
                      upper.element().stage(),
                      ActionNames.of(lower.element().message()),
                      ActionNames.of(upper.element().message())));
        }
      }
    }

    private final class Stage {
      private final int number;
      private final List<Action> actions;
      private final List<Span> spans = new ArrayList<>();
      private int next;
      private double clock;
      private int live;
      private int peakLive;

      Stage(int number) {
        this.number = number;
        actions = schedule.actions().get(number);
      }

      /** Does the next action, if there is one and nothing that it needs is missing. */
      boolean step() {
        if (next == actions.size()) {
          return false;
        }
        boolean done =
            switch (actions.get(next)) {
              case Receive receive -> post(receive);
              case Send send -> send(send);
              case Compute compute -> compute(compute);
            };
        next += done ? 1 : 0;
        return done;
      }

      private boolean post(Receive receive) {
        start(receive, receive, messages.channel(receive, number), clock);
        return true;
      }

      private boolean send(Send send) {
        Channel channel = messages.channel(send, number);
        start(send, messages.matchingReceive(send, number), channel, clock);
        return true;
      }

      private boolean compute(Compute compute) {
        Optional<Receive> awaited = messages.receiveOf(compute, number);
        int virtualStage = schedule.virtualStage(number, compute.chunk());
        double weights = costs.weights().get(virtualStage);
        double heads =
            switch (compute) {
              case Forward _, BackwardWeights _ -> 0;
              case Backward _, Tune _ -> costs.heads().get(virtualStage);
            };
        double start = clock;
        if (awaited.isPresent()) {
          Receive receive = awaited.get();
          Optional<Double> arrival = arrivalOf(receive, messages.channel(receive, number));
          if (arrival.isEmpty()) {
            return false;
          }
          double early = compute instanceof Backward && !costs.headsWait() ? heads : 0;
          start = Math.max(clock, arrival.get() - early);
        }
        double layers =
            switch (compute) {
              case Forward _, Tune _ -> costs.forward().get(virtualStage);
              case Backward _ ->
                  costs.backward().get(virtualStage)
                      - (schedule.kind().splitsBackward() ? weights : 0);
              case BackwardWeights _ -> weights;
            };
        clock = start + heads + layers;
        spans.add(new Span(number, compute, start, clock, heads));
        countLive(compute, virtualStage);
        return true;
      }

      private void countLive(Compute compute, int virtualStage) {
        live +=
            switch (compute) {
              case Forward(var id, _) -> id.hasBackwardOn(virtualStage) ? 1 : 0;
              case Backward _ -> schedule.kind().splitsBackward() ? 0 : -1;
              case BackwardWeights _ -> -1;
              case Tune _ -> 0;
            };
        peakLive = Math.max(peakLive, live);
      }

      void requireDone() {
        if (next < actions.size()) {
          throw new ScheduleException(
              "stage %d: %s waits for ever, and all others with it"
                  .formatted(number, ActionNames.of(actions.get(next))));
        }
      }
    }
  }
}
