package org.eellm.train;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.time.Clock;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BooleanSupplier;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.Learning;
import org.eellm.config.ParallelConfig;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig;
import org.eellm.config.TrainConfig.Device;
import org.eellm.config.TuneConfig;
import org.eellm.cost.ModelFlops;
import org.eellm.cost.ParameterCount;
import org.eellm.cost.plan.MemoryCheck;
import org.eellm.distributed.World;
import org.eellm.distributed.launch.RankInfo;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.file.IoErrors;
import org.eellm.tensor.DeviceThroughput;
import org.eellm.tensor.Torch;
import org.eellm.train.metrics.MetricsFile;
import org.eellm.train.metrics.MetricsSink;
import org.eellm.train.metrics.TensorBoardEvents;
import org.eellm.train.metrics.Trace;
import org.eellm.train.metrics.TraceFile;
import org.eellm.train.metrics.TrainEvent;
import org.eellm.train.metrics.TrainEvent.Evaluation;
import org.eellm.train.optimizer.StepGuard.UpdateDecision;

/**
 * A training run in a folder, from a configuration: {@link #start} or {@link #resume} it, then
 * {@link #run} it to its last step or until it is asked to stop.
 *
 * <p>Everything a step does follows from its number, the configuration and the checkpointed state,
 * so a resumed run goes on bit for bit as the undisturbed one would have (on CPUs, in float32, with
 * the same number of threads; on a GPU with {@code train.deterministic}).
 */
public final class Trainer implements AutoCloseable {
  /** How long the yardstick of MFU is measured. */
  private static final double RATE_SECONDS = 0.3;

  /** Rates that this program has measured: they stay while it runs. */
  private static final Map<Yardstick, Double> RATES = new ConcurrentHashMap<>();

  /** A rank's matrix products; ranks of one program share its processors. */
  private record Yardstick(ScalarType type, boolean cpu, int threads, int ranks, int rank) {}

  private final RunConfig config;
  private final RunFolder folder;
  private final RunData data;
  private final TrainState state;
  private final StepRunner runner;
  private final Optional<Evaluator> evaluator;
  private final Checkpointer checkpoints;
  private final World world;
  private final Trace trace;
  private final ModelFlops flops;
  private final double matrixRate;
  private final double bytesRead;

  /**
   * How a run ended.
   *
   * @param step the last step taken
   * @param finished whether that was the run's last, as opposed to a request to stop
   * @param checkpoint the folder of the newest checkpoint
   * @param evaluation the last evaluation that was made here
   */
  public record Outcome(
      long step, boolean finished, Path checkpoint, Optional<Evaluation> evaluation) {}

  private Trainer(
      RunFolder folder,
      RunData data,
      Checkpointer checkpoints,
      TrainState state,
      World world,
      Trace trace) {
    this.config = data.config();
    this.world = world;
    this.trace = trace;
    this.folder = folder;
    this.data = data;
    this.checkpoints = checkpoints;
    this.state = state;
    this.runner = new StepRunner(config, data.training(), state, world, trace);
    this.evaluator =
        data.validation()
            .map(
                samples ->
                    new Evaluator(
                        config, samples, data.bytesOfToken(), state.model(), world, trace));
    this.flops =
        ModelFlops.perToken(
            config.architecture(), config.data().sequenceLength(), config.tune().learning());
    double[] sums =
        world.all().sum(rate(state.model().scalarType(), state, world), state.bytesRead());
    this.matrixRate = sums[0];
    this.bytesRead = sums[1];
  }

  /** FLOP/s of this rank's matrix products, while other ranks of the program measure theirs. */
  private static double rate(ScalarType type, TrainState state, World world) {
    org.bytedeco.pytorch.Device device = state.model().device();
    Yardstick yardstick =
        new Yardstick(type, device.is_cpu(), Torch.threads(), world.mesh().size(), world.rank());
    Double known = RATES.get(yardstick);
    double rate = known == null ? DeviceThroughput.gemm(type, device, RATE_SECONDS) : known;
    RATES.put(yardstick, rate);
    return rate;
  }

  /**
   * Starts a run with weights drawn from the seed. Every rank calls this.
   *
   * @param output absent or empty
   * @throws ConfigException if a setting cannot be honoured or the folder is in use
   */
  public static Trainer start(RunConfig given, Path output, World world, boolean traced) {
    return open(given, output, world, traced, false);
  }

  /** {@link #start(RunConfig, Path, World, boolean)} as the only rank. */
  public static Trainer start(RunConfig given, Path output) {
    return start(given, output, World.singleRank(), false);
  }

  /**
   * Goes on with the run in a folder, from its newest checkpoint or, where it has none yet, from
   * the start. Every rank calls this; the mesh may be another than before.
   *
   * @throws ConfigException if there is no run, or a setting that changes what a step does is not
   *     the run's
   */
  public static Trainer resume(RunConfig given, Path output, World world, boolean traced) {
    return open(given, output, world, traced, true);
  }

  /** {@link #resume(RunConfig, Path, World, boolean)} as the only rank. */
  public static Trainer resume(RunConfig given, Path output) {
    return resume(given, output, World.singleRank(), false);
  }

  private static Trainer open(
      RunConfig given, Path output, World world, boolean traced, boolean resume) {
    requireMesh(given, world);
    // libtorch counts threads by calling thread; several ranks share a machine's cores.
    if (given.train().threads() > 0 || world.mesh().size() == 1) {
      Torch.setThreads(given.train().threads());
    }
    Torch.setDeterministic(given.train().deterministic());
    RunData data = RunData.open(given);
    try {
      requireMemory(data.config(), world);
      data.check(world.all());
      RunFolder folder =
          world.rank() > 0
              ? RunFolder.join(output)
              : resume
                  ? RunFolder.resume(output, data.config())
                  : RunFolder.create(output, data.config());
      try {
        return open(folder, data, world, traced ? new Trace.On() : new Trace.Off());
      } catch (RuntimeException | Error failure) {
        folder.discard();
        throw failure;
      }
    } catch (RuntimeException | Error failure) {
      data.close();
      throw failure;
    }
  }

  private static Trainer open(RunFolder folder, RunData data, World world, Trace trace) {
    Checkpointer checkpoints = new Checkpointer(folder, data, world);
    Optional<Path> latest = checkpoints.latest();
    latest.ifPresent(data::requireThoseOf);
    latest.ifPresent(data::seek);
    TrainState state =
        latest
            .map(checkpoint -> TrainState.load(data.config(), world, checkpoint))
            .orElseGet(() -> TrainState.initial(data.config(), world));
    if (state.step() > data.config().train().steps()) {
      throw new ConfigException(
          "train.steps: %d is below the %d that are done; give more, or train in another folder"
              .formatted(data.config().train().steps(), state.step()));
    }
    return new Trainer(folder, data, checkpoints, state, world, trace);
  }

  /** The ranks on this machine share its memory; each has a GPU of its own. */
  private static void requireMemory(RunConfig config, World world) {
    if (config.train().device() == Device.CUDA) {
      MemoryCheck.require(config, Torch.memoryBytes(TrainState.device(config, world)), 1);
    } else if (ManagementFactory.getOperatingSystemMXBean()
        instanceof OperatingSystemMXBean system) {
      int here =
          RankInfo.detect(System.getenv())
              .map(RankInfo::localWorldSize)
              .orElse(world.mesh().size());
      MemoryCheck.require(config, system.getTotalMemorySize(), here);
    }
  }

  private static void requireMesh(RunConfig config, World world) {
    ParallelConfig parallel = config.parallel();
    new Mesh(parallel.tp(), parallel.cp(), parallel.dp(), parallel.pp())
        .requireSize(world.mesh().size());
  }

  /** The configuration as resolved. */
  public RunConfig config() {
    return config;
  }

  /** Where the run keeps its files. */
  public RunFolder folder() {
    return folder;
  }

  /** The last step taken; 0 before the first. */
  public long step() {
    return state.step();
  }

  /** The model's size, the exits' share of the work and the machine's rate, a line each. */
  public List<String> describe() {
    List<String> lines = new ArrayList<>();
    lines.add(size());
    double all = flops.total(config.exits().layers().size());
    lines.add(
        "%.1f MFLOP a token, %.1f %% of it for the exits; matrix rate %.0f GFLOP/s with threads: %d"
            .formatted(
                all / 1e6, 100 * (1 - flops.total(0) / all), matrixRate / 1e9, Torch.threads()));
    if (world.mesh().size() > 1) {
      lines.add(
          "%s: %d ranks, with microbatches of %d sequences"
              .formatted(world.mesh(), world.mesh().size(), config.train().microBatchSize()));
    }
    lines.add(
        state.step() == 0
            ? "from the first step, to step %,d".formatted(config.train().steps())
            : "on after step %,d, to step %,d; the ranks read %s of tensors"
                .formatted(state.step(), config.train().steps(), IoErrors.bytes(bytesRead)));
    slowFormat().ifPresent(lines::add);
    lines.addAll(unfinished());
    return lines;
  }

  /** Processors that do not know bfloat16 take many times as long with it. */
  private Optional<String> slowFormat() {
    if (config.model().dtype() != DataType.BFLOAT16 || config.train().device() == Device.CUDA) {
      return Optional.empty();
    }
    return DeviceThroughput.slowBfloat16(
        matrixRate / world.mesh().size(), rate(ScalarType.Float, state, world));
  }

  /** Lines on schedules that end beyond the last step: on purpose, if the run is to be extended. */
  private List<String> unfinished() {
    SequencedMap<String, Long> ends = new LinkedHashMap<>();
    ends.put("optimizer.decay_steps", (long) config.optimizer().decaySteps());
    ends.put("exits.curriculum_steps", (long) config.exits().curriculumSteps());
    ends.put(
        "exits.distillation_start + exits.distillation_steps",
        (long) config.exits().distillationStart() + config.exits().distillationSteps());
    int steps = config.train().steps();
    return ends.entrySet().stream()
        .filter(end -> end.getValue() > steps)
        .map(
            end ->
                "%s %,d is beyond train.steps %,d: only a run with more steps gets there"
                    .formatted(end.getKey(), end.getValue(), steps))
        .toList();
  }

  private String size() {
    Learning learning = config.tune().learning();
    if (learning == Learning.EVERYTHING) {
      ParameterCount count = ParameterCount.of(config.architecture());
      return "%.2f M parameters: %.2f M trunk, %.2f M embeddings, %.2f M final head, %.2f M exits"
          .formatted(
              count.total() / 1e6,
              count.trunk() / 1e6,
              count.embeddings() / 1e6,
              count.finalHead() / 1e6,
              count.exits() / 1e6);
    }
    TrainingMemory memory = state.memory();
    if (learning instanceof Learning.Adapter(TuneConfig.Lora lora)) {
      return "changes of rank %d learn; here %.1f MB of weights stay as they are, and %.1f MB learn with %.1f MB of gradients and optimizer state"
          .formatted(
              lora.rank(), memory.frozen() / 1e6, memory.weights() / 1e6, memory.state() / 1e6);
    }
    if (learning == Learning.DRAFT_HEAD) {
      return "a draft head learns; here %.1f MB of weights stay as they are, and %.1f MB learn with %.1f MB of gradients and optimizer state"
          .formatted(memory.frozen() / 1e6, memory.weights() / 1e6, memory.state() / 1e6);
    }
    return "exits %s learn; of %d layers %d are loaded; here %.1f MB of weights stay as they are, and %.1f MB learn with %.1f MB of gradients and optimizer state"
        .formatted(
            config.exits().layers(),
            config.model().numLayers(),
            learning.layers(config.architecture()),
            memory.frozen() / 1e6,
            memory.weights() / 1e6,
            memory.state() / 1e6);
  }

  /**
   * Trains until the last step or until any rank is asked to stop, then saves a checkpoint and
   * draws the losses. Every rank calls this.
   *
   * @param watcher gets every event beside the run's own files, on the first rank; not closed
   * @param stop asked before each step
   * @throws TrainException if the guard ends the run or its files cannot be written
   */
  public Outcome run(MetricsSink watcher, BooleanSupplier stop) {
    TrainConfig train = config.train();
    runner.requireEqualCopies();
    Optional<Evaluation> evaluation = Optional.empty();
    try (Sinks sinks = sinks(watcher)) {
      if (state.step() == 0 && config.tune().learning() != Learning.EVERYTHING) {
        // Tuning starts from something, and what it gains is the difference.
        evaluation = evaluator.map(present -> present.evaluate(0));
        evaluation.ifPresent(sinks::accept);
      }
      boolean learned = state.step() == train.steps();
      while (state.step() < train.steps()) {
        Agreement agreement = agree(stop);
        if (agreement.stops()) {
          break;
        }
        if (agreement.saves()) {
          save();
        }
        TrainEvent.Step step = takeStep();
        sinks.accept(step);
        learned |= step.decision() != UpdateDecision.SKIP_NOT_FINITE;
        if (state.step() == train.steps() && !learned) {
          throw new TrainException(
              "step %d: loss %s, gradient norm %s; of all steps taken none was finite, and nothing is saved; use a lower optimizer.learning_rate, longer warm-up or smaller optimizer.clip_norm"
                  .formatted(step.step(), step.loss(), step.gradientNorm()));
        }
        if (isDue(train.evalInterval())) {
          runner.awaitParameters();
          evaluation = evaluator.map(present -> present.evaluate(state.step()));
          evaluation.ifPresent(sinks::accept);
        }
        if (isDue(config.checkpoint().interval())) {
          save();
        } else if (isDue(train.copiesInterval())) {
          runner.requireEqualCopies();
        }
      }
    }
    save();
    checkpoints.finish();
    if (trace instanceof Trace.On on) {
      TraceFile.write(folder.trace(), world, on.take());
    }
    return new Outcome(
        state.step(),
        state.step() == train.steps(),
        checkpoints.latest().orElseThrow(),
        evaluation);
  }

  private void save() {
    runner.requireEqualCopies();
    checkpoints.save(state);
  }

  /**
   * Whether something done every so many steps, and after the last one, is to be done now; 0 is
   * never.
   */
  private boolean isDue(int interval) {
    return interval > 0 && (state.step() % interval == 0 || state.step() == config.train().steps());
  }

  /**
   * The ranks' common decision before a step.
   *
   * @param stops the run ends
   * @param saves a checkpoint is due by the clock
   */
  private record Agreement(boolean stops, boolean saves) {}

  /**
   * Agrees with the other ranks. A signal may reach one alone, and their clocks differ, but all
   * must stop and save after the same step. Completes a checkpoint that all ranks have written.
   */
  private Agreement agree(BooleanSupplier stop) {
    folder.confirmLock();
    boolean due = world.rank() == 0 && state.step() > 0 && checkpoints.isDue();
    double[] counts =
        world.all().sum(stop.getAsBoolean() ? 1 : 0, checkpoints.isWritten() ? 1 : 0, due ? 1 : 0);
    if (counts[1] == world.mesh().size()) {
      checkpoints.finish();
    }
    return new Agreement(counts[0] > 0, counts[2] > 0);
  }

  private TrainEvent.Step takeStep() {
    long start = System.nanoTime();
    StepRunner.Result result = runner.trainStep(state.step() + 1);
    double elapsed = (System.nanoTime() - start) / 1e9;
    state.advance(elapsed);
    int sequence = config.data().sequenceLength();
    double tokens = (result.batchSize() + result.fills()) * (double) sequence;
    double operations =
        sequence
            * (result.batchSize() * flops.total(result.losses().size() - 1) + result.fillFlops());
    return new TrainEvent.Step(
        state.step(),
        result.loss(),
        result.losses(),
        result.exitWeights(),
        result.learningRate(),
        result.gradientNorm(),
        result.batchSize(),
        result.countedTokens(),
        state.samples() * sequence,
        tokens / elapsed,
        operations / elapsed / matrixRate,
        state.seconds(),
        result.decision(),
        result.waiting(),
        Collections.max(result.memory()));
  }

  /** The run's own files and who else watches; nothing but on the first rank. */
  private Sinks sinks(MetricsSink watcher) {
    if (world.rank() > 0) {
      return new Sinks(List.of(), MetricsSink.none());
    }
    List<MetricsSink> own = new ArrayList<>();
    own.add(MetricsFile.open(folder.metrics(), state.step()));
    if (config.logging().tensorboard()) {
      own.add(TensorBoardEvents.open(folder.tensorBoard(), state.step(), Clock.systemUTC()));
    }
    return new Sinks(own, watcher);
  }

  private record Sinks(List<MetricsSink> own, MetricsSink watcher) implements MetricsSink {
    @Override
    public void accept(TrainEvent event) {
      own.forEach(sink -> sink.accept(event));
      watcher.accept(event);
    }

    @Override
    public void close() {
      own.forEach(MetricsSink::close);
    }
  }

  @Override
  public void close() {
    checkpoints.close();
    runner.close();
    state.close();
    data.close();
    folder.close();
  }
}
