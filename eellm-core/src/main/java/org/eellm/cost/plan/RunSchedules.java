package org.eellm.cost.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.eellm.config.Learning;
import org.eellm.config.ParallelConfig;
import org.eellm.config.RunConfig;
import org.eellm.config.StageLayout;
import org.eellm.config.StageLayout.Slice;
import org.eellm.cost.ModelFlops;
import org.eellm.schedule.Costs;
import org.eellm.schedule.FillSearch;
import org.eellm.schedule.Fills;
import org.eellm.schedule.MicrobatchId;
import org.eellm.schedule.Schedule;
import org.eellm.schedule.ScheduleKind;
import org.eellm.schedule.Schedules;
import org.eellm.schedule.Timeline;

/**
 * The schedules of a run: of its training steps and of its evaluations.
 *
 * @param stageLayout which part of the model each virtual stage holds
 */
public record RunSchedules(RunConfig config, StageLayout stageLayout) {
  /** A backward pass takes as long as so many forward passes. */
  private static final double BACKWARD = 2;

  /** The schedules of a configuration. */
  public static RunSchedules of(RunConfig config) {
    return new RunSchedules(config, config.stageLayout());
  }

  /** A training step's schedule of so many regular microbatches a replica. */
  public Schedule schedule(int microbatches) {
    ParallelConfig parallel = config.parallel();
    if (config.tune().learning() == Learning.EXITS
        || config.tune().learning() == Learning.DRAFT_HEAD) {
      return forwardOnly(microbatches);
    }
    ScheduleKind kind =
        switch (parallel.schedule()) {
          case ALL_FORWARD_ALL_BACKWARD -> ScheduleKind.ALL_FORWARD_ALL_BACKWARD;
          case ZERO_BUBBLE -> ScheduleKind.ZERO_BUBBLE;
          case ONE_FORWARD_ONE_BACKWARD ->
              parallel.chunks() > 1 ? ScheduleKind.INTERLEAVED : ScheduleKind.ONE_F_ONE_B;
        };
    return Schedules.emit(
        kind, parallel.pp(), parallel.chunks(), microbatches, fills(microbatches));
  }

  /**
   * The share of a step's time in which stages of equal cost do nothing for its regular
   * microbatches.
   */
  public double bubbleShare(int microbatches) {
    Schedule schedule = schedule(microbatches);
    Costs costs = Costs.equal(schedule.virtualStages(), 1, BACKWARD);
    double work = (1 + BACKWARD) * schedule.virtualStages() * microbatches;
    return 1 - work / (schedule.stages() * Timeline.of(schedule, costs).makespan());
  }

  private Fills fills(int microbatches) {
    ParallelConfig parallel = config.parallel();
    if (parallel.fillWarmup() == 0 && parallel.fillCooldown() == 0) {
      return Fills.none();
    }
    List<Integer> exitStages =
        IntStream.range(0, parallel.pp())
            .filter(stage -> !stageLayout.slices().get(stage).exits().isEmpty())
            .boxed()
            .toList();
    return FillSearch.find(
        count(parallel.fillWarmup()),
        count(parallel.fillCooldown()),
        parallel.pp(),
        microbatches,
        exitStages,
        costs());
  }

  private static FillSearch.Count count(int given) {
    return given == ParallelConfig.AUTOMATIC
        ? new FillSearch.Count.Automatic()
        : new FillSearch.Count.Exactly(given);
  }

  /** The work of each stage. */
  private Costs costs() {
    List<Double> layers = new ArrayList<>();
    List<Double> backward = new ArrayList<>();
    List<Double> heads = new ArrayList<>();
    for (Slice slice : stageLayout.slices()) {
      Slice bare =
          new Slice(slice.firstLayer(), slice.endLayer(), List.of(), slice.hasEmbedding(), false);
      int sequence = config.data().sequenceLength();
      double trunk = StageLayout.cost(config.architecture(), bare, sequence);
      layers.add(trunk);
      backward.add(BACKWARD * trunk);
      heads.add(
          (1 + BACKWARD) * (StageLayout.cost(config.architecture(), slice, sequence) - trunk));
    }
    return new Costs(layers, backward, layers, heads, config.exitsAwaitFinalHead(), 0);
  }

  /**
   * The schedule of an evaluation of at least so many microbatches: forward and every head, or,
   * where the heads are compared with the final one, as in a step.
   */
  public Schedule evaluation(int microbatches) {
    if (config.tune().learning() != Learning.EXITS_FROM_FINAL_HEAD) {
      return forwardOnly(microbatches);
    }
    int group = config.parallel().chunks() > 1 ? config.parallel().pp() : 1;
    return schedule(Math.ceilDiv(microbatches, group) * group);
  }

  private Schedule forwardOnly(int microbatches) {
    ParallelConfig parallel = config.parallel();
    return Schedules.emit(
        ScheduleKind.TUNING, parallel.pp(), parallel.chunks(), microbatches, Fills.none());
  }

  /**
   * The operations of a replica's fills in a step, for one token of each.
   *
   * @param flops of a token that goes through everything
   */
  public double fillFlops(Schedule schedule, ModelFlops flops) {
    double sum = 0;
    for (MicrobatchId id : schedule.microbatchIds()) {
      int end = id instanceof MicrobatchId.Regular ? 0 : id.forwardEnd(schedule.virtualStages());
      for (int stage = 0; stage < end; stage++) {
        Slice slice = stageLayout.slices().get(stage);
        double share = slice.layers() / (double) config.model().numLayers();
        sum +=
            id.hasBackwardOn(stage)
                ? share * flops.trunk()
                    + slice.exits().size() * flops.exit()
                    + (slice.hasFinalHead() ? flops.finalHead() : 0)
                : share * flops.trunkForward();
      }
    }
    return sum;
  }

  /** The number of fills of a schedule. */
  public static long fills(Schedule schedule) {
    return schedule.microbatchIds().stream()
        .filter(id -> !(id instanceof MicrobatchId.Regular))
        .count();
  }
}
