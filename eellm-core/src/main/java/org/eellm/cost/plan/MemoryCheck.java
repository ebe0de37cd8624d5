package org.eellm.cost.plan;

import java.util.List;
import java.util.Optional;
import java.util.function.IntFunction;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.eellm.config.ConfigException;
import org.eellm.config.DataConfig;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.RunConfig;
import org.eellm.config.StageLayout.Slice;
import org.eellm.config.TrainConfig;
import org.eellm.cost.Hardware;
import org.eellm.cost.Hardware.Connection;
import org.eellm.cost.Hardware.Link;
import org.eellm.cost.Hardware.MatrixRates;
import org.eellm.cost.MemoryEstimator;
import org.eellm.file.IoErrors;
import org.eellm.schedule.Schedule;

/**
 * Refuses a run that a machine's memory cannot hold, before anything is allocated: by the planner's
 * formulas, which leave out what the process itself takes.
 */
public final class MemoryCheck {
  /** Beyond this a rough count is good enough, and the formulas' integers are not. */
  private static final double ABSURD_BYTES = 1e15;

  private final RunConfig config;
  private final long memoryBytes;
  private final int ranksHere;

  private MemoryCheck(RunConfig config, long memoryBytes, int ranksHere) {
    this.config = config;
    this.memoryBytes = memoryBytes;
    this.ranksHere = ranksHere;
  }

  /**
   * Refuses what does not fit.
   *
   * @param config of a known vocabulary
   * @param memoryBytes of the machine
   * @param ranksHere those that share it
   * @throws ConfigException that names the setting to make smaller
   */
  public static void require(RunConfig config, long memoryBytes, int ranksHere) {
    MemoryCheck check = new MemoryCheck(config, memoryBytes, ranksHere);
    double bytes = check.bytes(config);
    if (bytes > memoryBytes) {
      throw check.refusal(bytes);
    }
  }

  /**
   * Whether ranks that each hold all of a run take at most half of a memory, by a rough count.
   *
   * @param config its vocabulary may be unknown
   */
  public static boolean isSmall(RunConfig config, long memoryBytes, int ranks) {
    return 2 * ranks * (roughState(config) + roughActivations(config)) <= memoryBytes;
  }

  /** Bytes that the ranks of this machine take. */
  private double bytes(RunConfig candidate) {
    double share = (double) ranksHere / candidate.parallel().worldSize();
    double rough = share * (roughState(candidate) + roughActivations(candidate));
    return rough > ABSURD_BYTES ? rough : share * exact(candidate);
  }

  private static double exact(RunConfig candidate) {
    RunSchedules schedules = RunSchedules.of(candidate);
    int group = candidate.parallel().chunks() > 1 ? candidate.parallel().pp() : 1;
    int microbatches =
        candidate.train().globalBatchSize()
            / (candidate.train().microBatchSize() * candidate.parallel().dp());
    int filling = 2 * candidate.parallel().pp() * candidate.parallel().chunks();
    Schedule schedule =
        schedules.schedule(Math.min(microbatches, Math.ceilDiv(filling, group) * group));
    MemoryEstimator estimator = new MemoryEstimator(candidate, hardware(candidate));
    double stages = 0;
    for (int stage = 0; stage < schedule.stages(); stage++) {
      int first = stage;
      List<Slice> slices =
          IntStream.range(0, candidate.parallel().chunks())
              .mapToObj(
                  chunk -> schedules.stageLayout().slices().get(chunk * schedule.stages() + first))
              .toList();
      stages += estimator.of(stage, slices, schedule).total();
    }
    return stages * candidate.parallel().worldSize() / candidate.parallel().pp();
  }

  /** Of a machine whose speed does not matter, with a process that takes nothing. */
  private static Hardware hardware(RunConfig candidate) {
    MatrixRates rates = new MatrixRates(1, 1, 1);
    Link link = new Link(0, 1);
    Connection connection = new Connection(link, link);
    return new Hardware(
        "this machine",
        candidate.train().device(),
        1,
        0,
        candidate.parallel().worldSize(),
        rates,
        rates,
        1,
        1,
        0,
        connection,
        Optional.empty(),
        false,
        Optional.empty());
  }

  /** Weights of all ranks, at least, and gradients and moments where they learn. */
  private static double roughState(RunConfig candidate) {
    ModelConfig model = candidate.model();
    Learning learning = candidate.tune().learning();
    double bytes = learning == Learning.EVERYTHING ? 16 : model.dtype().bytes();
    int layers = learning.layers(candidate.architecture());
    return bytes * (vocabulary(model) + positions(model) + layers * layer(model));
  }

  private static double vocabulary(ModelConfig model) {
    return (model.tieEmbeddings() ? 1.0 : 2.0) * model.vocabSize() * model.hiddenSize();
  }

  private static double positions(ModelConfig model) {
    return model.positionEmbedding() == PositionEmbedding.LEARNED
        ? (double) model.maxPositions() * model.hiddenSize()
        : 0.25 * model.maxPositions() * model.headDim();
  }

  private static double layer(ModelConfig model) {
    return 2.0 * model.hiddenSize() * model.numHeads() * model.headDim()
        + 2.0 * model.hiddenSize() * model.ffnHiddenSize()
        + 3.0 * model.hiddenSize() * model.experts().count() * model.experts().hiddenSize();
  }

  /** A microbatch's stream and a head's scores, at least. */
  private static double roughActivations(RunConfig candidate) {
    double sequence = candidate.data().sequenceLength();
    return 4.0
        * sequence
        * (sequence + (double) candidate.train().microBatchSize() * candidate.model().hiddenSize());
  }

  private ConfigException refusal(double bytes) {
    TrainConfig train = config.train();
    DataConfig data = config.data();
    if (withMicroBatch(1).filter(this::fits).isPresent()) {
      return refusal(
          "train.micro_batch_size",
          train.microBatchSize(),
          bytes,
          "use %d".formatted(largest(train.microBatchSize(), this::withMicroBatch)));
    }
    int least = config.parallel().cp() > 1 ? 2 * config.parallel().cp() : 1;
    if (withSequence(least).filter(this::fits).isPresent()) {
      return refusal(
          "data.sequence_length",
          data.sequenceLength(),
          bytes,
          "shorten it, or use a smaller train.micro_batch_size");
    }
    ModelConfig model = config.model();
    Learning learning = config.tune().learning();
    double layers = learning.layers(config.architecture()) * layer(model);
    String remedy =
        switch (learning) {
          case Learning.Part.EVERYTHING ->
              "make the model smaller, or use more machines (eellm plan --search)";
          case Learning.Part.EXITS -> "tune lower exits (exits.layers), or use more machines";
          case Learning.Adapter _ -> "use a smaller tune.lora.rank, or more machines";
          case Learning.Part.EXITS_FROM_FINAL_HEAD -> "use tune.target: text, or more machines";
          case Learning.Part.DRAFT_HEAD -> "use another tune.target";
        };
    if (vocabulary(model) >= Math.max(positions(model), layers)) {
      return refusal("model.vocab_size", model.vocabSize(), bytes, remedy);
    }
    if (positions(model) >= layers) {
      return refusal("model.max_positions", model.maxPositions(), bytes, remedy);
    }
    boolean deep =
        (learning == Learning.EVERYTHING ? 16 : model.dtype().bytes()) * layer(model)
            < memoryBytes / 2.0;
    return deep
        ? refusal("model.num_layers", model.numLayers(), bytes, remedy)
        : refusal(
            model.ffnHiddenSize() > 8L * model.hiddenSize()
                ? "model.ffn_hidden_size"
                : "model.hidden_size",
            model.ffnHiddenSize() > 8L * model.hiddenSize()
                ? model.ffnHiddenSize()
                : model.hiddenSize(),
            bytes,
            remedy);
  }

  private ConfigException refusal(String key, int value, double bytes, String remedy) {
    return new ConfigException(
        "%s: %d needs %s of memory in all, and the machine has %s; %s"
            .formatted(key, value, IoErrors.bytes(bytes), IoErrors.bytes(memoryBytes), remedy));
  }

  private boolean fits(RunConfig candidate) {
    return bytes(candidate) <= memoryBytes;
  }

  /** The largest of the value's halves that fits, if 1 does. */
  private int largest(int value, IntFunction<Optional<RunConfig>> with) {
    int candidate = value / 2;
    while (candidate > 1 && with.apply(candidate).filter(this::fits).isEmpty()) {
      candidate /= 2;
    }
    return Math.max(1, candidate);
  }

  private Optional<RunConfig> withMicroBatch(int size) {
    return possible(
        () -> {
          int replicas = config.parallel().dp() * config.parallel().pp();
          TrainConfig smaller =
              config
                  .train()
                  .withConstantBatch(config.train().microBatchSize())
                  .with(1, config.train().recompute())
                  .withConstantBatch(size * replicas);
          return config.with(config.parallel(), smaller.with(size, smaller.recompute()));
        });
  }

  private Optional<RunConfig> withSequence(int length) {
    return possible(() -> config.withData(config.data().withSequenceLength(length)));
  }

  private static Optional<RunConfig> possible(Supplier<RunConfig> candidate) {
    try {
      return Optional.of(candidate.get());
    } catch (ConfigException impossible) {
      return Optional.empty();
    }
  }
}
