package org.eellm.cli.plan;

import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;
import org.eellm.schedule.Action;
import org.eellm.schedule.Fills;
import org.eellm.schedule.MicrobatchId.Regular;
import org.eellm.schedule.Schedule;
import org.eellm.schedule.ScheduleKind;
import org.eellm.schedule.Timeline;

/**
 * The report of {@code eellm schedule --json}. Time is in forward passes of one layer.
 *
 * @param makespan time of a step
 * @param bubbleShare the share of all stages' time that is idle
 */
record ScheduleReport(
    String kind,
    int stages,
    int chunks,
    int microbatches,
    List<Integer> warmupFillStages,
    List<Integer> cooldownFillFirstStages,
    double makespan,
    double bubbleShare,
    List<Stage> perStage,
    List<Pass> passes) {

  /**
   * A stage.
   *
   * @param layers the layers of each chunk, from 1, as in {@code 1-8}
   * @param exits the layers, from 1, whose output its exits read
   */
  record Stage(
      int stage, List<String> layers, List<Integer> exits, double idleShare, int peakLive) {}

  /**
   * A computation.
   *
   * @param pass forward, backward, weights or tune
   * @param heads the part of it in which heads run
   */
  record Pass(
      int stage,
      int chunk,
      String pass,
      int microbatch,
      boolean fill,
      double start,
      double end,
      double heads) {}

  static ScheduleReport of(Timeline timeline, SimulatedLayout model, Fills fills) {
    Schedule schedule = timeline.schedule();
    return new ScheduleReport(
        name(schedule.kind()),
        schedule.stages(),
        schedule.chunks(),
        schedule.microbatches(),
        fills.warmupStages(),
        fills.cooldownFirstStages(),
        timeline.makespan(),
        timeline.bubbleShare(),
        IntStream.range(0, schedule.stages())
            .mapToObj(stage -> stage(stage, timeline, model))
            .toList(),
        timeline.spans().stream().map(ScheduleReport::pass).toList());
  }

  private static Stage stage(int stage, Timeline timeline, SimulatedLayout model) {
    Schedule schedule = timeline.schedule();
    List<Integer> virtualStages =
        IntStream.range(0, schedule.chunks())
            .mapToObj(chunk -> schedule.virtualStage(stage, chunk))
            .toList();
    return new Stage(
        stage,
        virtualStages.stream().map(model::layerRange).toList(),
        virtualStages.stream().flatMap(v -> model.exits().get(v).stream()).toList(),
        timeline.idleShare(stage),
        timeline.peakLive().get(stage));
  }

  private static Pass pass(Timeline.Span span) {
    return new Pass(
        span.stage(),
        span.action().chunk(),
        name(span.action()),
        span.action().microbatch().index(),
        !(span.action().microbatch() instanceof Regular),
        span.start(),
        span.end(),
        span.heads());
  }

  private static String name(Action.Compute compute) {
    return switch (compute) {
      case Action.Forward _ -> "forward";
      case Action.Backward _ -> "backward";
      case Action.BackwardWeights _ -> "weights";
      case Action.Tune _ -> "tune";
    };
  }

  /** The schedule as people call it. */
  private static String name(ScheduleKind kind) {
    return switch (kind) {
      case ONE_F_ONE_B -> "1f1b";
      case ZERO_BUBBLE -> "zero-bubble";
      default -> kind.name().toLowerCase(Locale.ROOT);
    };
  }
}
