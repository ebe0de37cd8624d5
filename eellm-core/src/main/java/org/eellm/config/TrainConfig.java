package org.eellm.config;

import static org.eellm.config.ConfigException.require;
import static org.eellm.config.ConfigException.requireAtLeast;
import static org.eellm.config.ConfigException.requireNotNegative;

import java.util.Map;
import java.util.Optional;
import org.eellm.config.setting.MayChangeOnResume;
import org.eellm.config.setting.NoEffectWith;
import org.eellm.config.setting.NoEffectWith.Choice;
import org.eellm.config.setting.RecordCopy;

/**
 * The training run.
 *
 * @param steps optimizer steps
 * @param microBatchSize sequences in one forward and backward pass
 * @param globalBatchSize sequences in one optimizer step
 * @param seed seed of initial weights, data order and dropout
 * @param recompute activations that the backward pass recomputes
 * @param layerDropout LayerSkip: probability that a sequence skips the last layer; it grows
 *     exponentially over layers, from 0 at the first
 * @param layerDropoutCurriculum how it gets there over {@code steps}
 * @param rampup ramp-up of the global batch size
 * @param evalInterval steps between evaluations; 0: never
 * @param evalBatches microbatches in one evaluation
 * @param maxBadSteps steps in a row without finite loss and gradient, each skipped, before the run
 *     stops
 * @param spikeThreshold skips a step whose gradient norm is this many standard deviations above the
 *     mean of the last {@code spikeWindow} steps; 0: never
 * @param spikeWindow steps that the spike guard looks at
 * @param copiesInterval steps between checks that the ranks' copies of each parameter are equal,
 *     beside those at the start and before each checkpoint; 0: none
 * @param deterministic refuses operations whose result may differ between runs, as some on a GPU
 *     do, and takes slower ones
 * @param threads CPU threads, at most {@value #MAX_THREADS}; 0: all cores
 * @param device where the model trains
 * @param model folder of the model to start from; null: random weights
 */
public record TrainConfig(
    @MayChangeOnResume int steps,
    int microBatchSize,
    int globalBatchSize,
    long seed,
    @NoEffectWith(Choice.TUNING_EXITS) Recompute recompute,
    @NoEffectWith(Choice.TUNING_EXITS) double layerDropout,
    @NoEffectWith(Choice.NO_LAYER_DROPOUT) LayerDropoutCurriculum layerDropoutCurriculum,
    Rampup rampup,
    @MayChangeOnResume int evalInterval,
    @MayChangeOnResume @NoEffectWith(Choice.NO_EVALUATION) int evalBatches,
    @MayChangeOnResume int maxBadSteps,
    double spikeThreshold,
    @NoEffectWith(Choice.NO_SPIKE_GUARD) int spikeWindow,
    @MayChangeOnResume int copiesInterval,
    boolean deterministic,
    @MayChangeOnResume int threads,
    Device device,
    @MayChangeOnResume @NoEffectWith(Choice.TUNING) Optional<String> model) {
  /** More threads than any machine has cores; a process that starts many more dies. */
  public static final int MAX_THREADS = 1024;

  /**
   * NONE keeps all activations; SELECTIVE recomputes core attention; FULL keeps only each branch's
   * input.
   */
  public enum Recompute {
    NONE,
    SELECTIVE,
    FULL
  }

  /**
   * CONSTANT: throughout, for a trained {@code model}. EXPONENTIAL: from 0, for one from scratch.
   */
  public enum LayerDropoutCurriculum {
    CONSTANT,
    EXPONENTIAL
  }

  public enum Device {
    CPU,
    CUDA
  }

  /**
   * The batch grows from {@code start} by {@code increment} to the global batch size.
   *
   * @param start sequences in the first step
   * @param increment sequences that the batch grows by
   * @param samples samples over which it grows; 0: no ramp-up
   */
  public record Rampup(
      @NoEffectWith(Choice.NO_RAMPUP) int start,
      @NoEffectWith(Choice.NO_RAMPUP) int increment,
      long samples) {
    public Rampup {
      requireNotNegative(samples, "train.rampup.samples", "0 switches the ramp-up off");
      require(
          samples == 0 || start >= 1, "train.rampup.start", start + " is below 1; use 1 or more");
      require(
          samples == 0 || increment >= 1,
          "train.rampup.increment",
          increment + " is below 1; use 1 or more");
    }
  }

  public TrainConfig {
    requireAtLeast(1, steps, "train.steps");
    requireAtLeast(1, microBatchSize, "train.micro_batch_size");
    require(
        globalBatchSize >= 1 && globalBatchSize % microBatchSize == 0,
        "train.global_batch_size",
        globalBatchSize
            + " is not a multiple of train.micro_batch_size "
            + microBatchSize
            + "; use a multiple");
    require(
        layerDropout >= 0 && layerDropout < 1,
        "train.layer_dropout",
        layerDropout + " is outside [0, 1)");
    if (rampup.samples() > 0) {
      require(
          rampup.start() % microBatchSize == 0
              && rampup.increment() % microBatchSize == 0
              && rampup.start() <= globalBatchSize
              && (globalBatchSize - rampup.start()) % rampup.increment() == 0,
          "train.rampup",
          "from "
              + rampup.start()
              + " by "
              + rampup.increment()
              + " does not reach "
              + globalBatchSize
              + " in multiples of train.micro_batch_size "
              + microBatchSize);
    }
    requireNotNegative(evalInterval, "train.eval_interval", "0 switches evaluation off");
    requireAtLeast(1, evalBatches, "train.eval_batches");
    requireAtLeast(1, maxBadSteps, "train.max_bad_steps");
    requireNotNegative(spikeThreshold, "train.spike_threshold", "0 switches the guard off");
    requireAtLeast(8, spikeWindow, "train.spike_window");
    requireNotNegative(
        copiesInterval,
        "train.copies_interval",
        "0 leaves the checks at the start and before checkpoints");
    require(
        threads >= 0 && threads <= MAX_THREADS,
        "train.threads",
        "%d is outside 0..%d; 0 means all cores",
        threads,
        MAX_THREADS);
  }

  /** This run with other microbatches and another recomputation. */
  public TrainConfig with(int microBatchSize, Recompute recompute) {
    return RecordCopy.with(this, Map.of("microBatchSize", microBatchSize, "recompute", recompute));
  }

  /** This run with each microbatch, of training and evaluation, in so many equal parts. */
  public TrainConfig inParts(int parts) {
    return RecordCopy.with(
        this, Map.of("microBatchSize", microBatchSize / parts, "evalBatches", evalBatches * parts));
  }

  /** This run with steps of one size, from the first on. */
  public TrainConfig withConstantBatch(int size) {
    return RecordCopy.with(this, Map.of("globalBatchSize", size, "rampup", new Rampup(0, 0, 0)));
  }
}
