package org.eellm.cost.plan;

import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import org.eellm.config.RunConfig;
import org.eellm.config.StageLayout.Slice;
import org.eellm.cost.Hardware;
import org.eellm.cost.Memory;
import org.eellm.cost.ParameterCount;
import org.eellm.schedule.Timeline;

/**
 * The predicted time and memory of a run's step.
 *
 * @param flops model FLOPs of a step over all devices
 * @param stages of the pipeline
 * @param timeline of the step up to the sums of gradients, in seconds
 * @param time of a step
 */
public record Plan(
    RunConfig config,
    Hardware hardware,
    ParameterCount parameters,
    double flops,
    List<StagePlan> stages,
    Timeline timeline,
    StepTime time) {

  private static final double DAY = 24 * 3600;

  /**
   * A stage of the pipeline; each of its ranks is like the others.
   *
   * @param slices of the model, by chunk
   * @param parameters that a rank holds
   * @param busy seconds of a step in which it computes
   */
  public record StagePlan(
      int stage, List<Slice> slices, long parameters, Memory memory, double busy) {
    public StagePlan {
      slices = List.copyOf(slices);
    }
  }

  /**
   * Where a step's time goes, in seconds; the parts follow each other.
   *
   * @param pipeline forward and backward passes, with the pipeline's bubbles
   * @param gradients sums over replicas and tied matrices, as far as nothing hides them
   * @param update optimizer
   * @param gather of the updated weights over replicas
   */
  public record StepTime(double pipeline, double gradients, double update, double gather) {
    public double total() {
      return pipeline + gradients + update + gather;
    }
  }

  public Plan {
    stages = List.copyOf(stages);
  }

  /** Devices. */
  public int devices() {
    return config.parallel().worldSize();
  }

  /** Tokens of a step. */
  public long tokensPerStep() {
    return (long) config.train().globalBatchSize() * config.data().sequenceLength();
  }

  public double tokensPerSecond() {
    return tokensPerStep() / time.total();
  }

  public double tokensPerDay() {
    return tokensPerSecond() * DAY;
  }

  /** Model FLOPs utilization: of all devices' peak. */
  public double utilization() {
    double peak = hardware.rates(config.model().dtype()).peak() * 1e12;
    return flops / (time.total() * devices() * peak);
  }

  /** Days for all steps of the run. */
  public double days() {
    return config.train().steps() * time.total() / DAY;
  }

  /** Dollars for all steps of the run, if the hardware has a price. */
  public Optional<Double> dollars() {
    return hardware.dollarsPerHour().map(price -> price * devices() * days() * 24);
  }

  /** The stage whose ranks need the most memory. */
  public StagePlan fullest() {
    return stages.stream()
        .max(Comparator.comparingLong(stage -> stage.memory().total()))
        .orElseThrow();
  }

  /** Whether every rank's memory suffices. */
  public boolean fits() {
    return fullest().memory().total() <= hardware.memoryBytes();
  }
}
