package org.eellm.train;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.eellm.checkpoint.AdapterFiles;
import org.eellm.checkpoint.CheckpointStore;
import org.eellm.checkpoint.DraftHeadFiles;
import org.eellm.checkpoint.FlatStateShard;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.ModelWeights;
import org.eellm.checkpoint.TrainingFiles;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.TensorFile;
import org.eellm.config.Learning;
import org.eellm.config.Quantization;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig;
import org.eellm.cost.plan.RunSchedules;
import org.eellm.distributed.World;
import org.eellm.model.ContextParallel;
import org.eellm.model.Decoder;
import org.eellm.model.DecoderShard;
import org.eellm.model.TensorParallel;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.ParameterName;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.train.optimizer.BatchSize;
import org.eellm.train.optimizer.FlatRange;
import org.eellm.train.optimizer.GradientReduction;
import org.eellm.train.optimizer.Optimizer;
import org.eellm.train.optimizer.StepGuard;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * All that changes from step to step and that a checkpoint therefore keeps: the model, the
 * optimizer's moments, the guard's memory, and where the run is; of model and moments the part that
 * this rank holds. Everything else follows from the configuration.
 */
public final class TrainState implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(TrainState.class);

  private final RunConfig config;
  private final World world;
  private final Decoder model;
  private final Optimizer optimizer;
  private final StepGuard guard;
  private long step;
  private long samples;
  private double seconds;
  private long bytesRead;
  private Optional<StateCopy> copy = Optional.empty();

  /**
   * The part of the state that is not tensors, as {@code training/state.json} has it.
   *
   * @param samples that all steps have taken; how many a step takes beside the batch, to fill
   *     bubbles, changes with the mesh
   */
  record Position(long step, long samples, double seconds, StepGuard.State guard) {}

  /** The position as earlier versions wrote it, without the count of samples. */
  private record UncountedPosition(long step, double seconds, StepGuard.State guard) {}

  private TrainState(RunConfig config, World world, Decoder model, Position position) {
    this.config = config;
    this.world = world;
    this.model = model;
    List<FlatRange> ranges =
        GradientReduction.ranges(model.parameters(), world, bucketBytes(config));
    this.optimizer = Optimizer.of(model.parameters(), config.optimizer(), ranges, world.dp());
    this.guard = new StepGuard(config.train(), position.guard());
    this.step = position.step();
    this.samples = position.samples();
    this.seconds = position.seconds();
  }

  private static long bucketBytes(RunConfig config) {
    return (long) config.parallel().bucketMegabytes() << 20;
  }

  /** This rank's part of the model, with uninitialised parameters. */
  private static Decoder allocate(RunConfig config, World world) {
    return Decoder.allocate(
        config.architecture(),
        config.tune().learning(),
        Quantization.NONE,
        DecoderShard.ofRank(
            config.stageLayout(),
            world.pp(),
            new TensorParallel(world.tp(), config.parallel().sequenceParallel()),
            new ContextParallel(world.cp()),
            world.dp().size()),
        device(config, world));
  }

  /**
   * The state before the first step: with the weights of the model whose exits are tuned or that is
   * trained on, or else weights drawn from the seed.
   */
  public static TrainState initial(RunConfig config, World world) {
    Decoder model = allocate(config, world);
    tuned(config)
        .or(() -> config.train().model().map(folder -> ModelFolder.resolve(Path.of(folder))))
        .ifPresentOrElse(
            folder -> {
              folder.load(model);
              model.initialize(config.train().seed(), ParameterName::isLowRank);
              if (model.draftHead().isPresent()) {
                model.startDraftHead(config.train().seed());
              }
            },
            () -> model.initialize(config.train().seed()));
    return new TrainState(config, world, model, new Position(0, 0, 0, StepGuard.State.initial()));
  }

  /** The state before the first step with weights drawn from the seed in any case, to measure. */
  public static TrainState random(RunConfig config, World world) {
    Decoder model = allocate(config, world);
    model.initialize(config.train().seed());
    return new TrainState(config, world, model, new Position(0, 0, 0, StepGuard.State.initial()));
  }

  /**
   * The state that a checkpoint keeps.
   *
   * @throws org.eellm.checkpoint.safetensors.CheckpointException if it is not whole or of another
   *     model
   */
  static TrainState load(RunConfig config, World world, Path checkpoint) {
    Position position = position(config, checkpoint);
    Decoder model = allocate(config, world);
    Optional<ModelFolder> tuned = tuned(config);
    tuned.ifPresent(folder -> loadTuned(config, folder, checkpoint, model));
    long weights = tuned.isPresent() ? 0 : loadShared(config, world, checkpoint, model);
    TrainState state = new TrainState(config, world, model, position);
    state.bytesRead =
        weights + TrainingFiles.readOptimizer(checkpoint, model, state.optimizer.state());
    requireFinite(checkpoint, "weights", model.parameters().flat());
    for (FlatStateShard piece : state.optimizer.state()) {
      requireFinite(checkpoint, "optimizer's " + piece.buffer(), piece.values());
    }
    return state;
  }

  /** A model in whose place a checkpoint has what a run has tuned of it. */
  private static void loadTuned(
      RunConfig config, ModelFolder folder, Path checkpoint, Decoder model) {
    if (config.tune().learning() instanceof Learning.Adapter) {
      folder.load(model);
      AdapterFiles.load(checkpoint, model);
    } else if (model.draftHead().isPresent()) {
      folder.load(model);
      DraftHeadFiles.load(checkpoint, model);
    } else {
      new ModelFolder(folder.folder(), Optional.of(checkpoint)).load(model);
    }
  }

  /** Reads only what no other replica reads, and gets the rest from these. */
  private static long loadShared(RunConfig config, World world, Path checkpoint, Decoder model) {
    List<FlatRange> ranges =
        GradientReduction.ranges(model.parameters(), world, bucketBytes(config));
    try (Scope _ = Scope.open()) {
      Tensor flat = model.parameters().flat();
      List<FlatStateShard> own =
          Optimizer.shares(ranges, world.dp()).stream()
              .map(share -> new FlatStateShard("weights", share.start(), share.of(flat)))
              .toList();
      long read = ModelWeights.load(checkpoint, model, own);
      GradientReduction.gather(flat, ranges, world.dp());
      return read;
    }
  }

  private static Position position(RunConfig config, Path checkpoint) {
    boolean counted = TrainingFiles.stateHas(checkpoint, "samples");
    Position position;
    if (counted) {
      position = TrainingFiles.readState(checkpoint, Position.class);
    } else {
      var read = TrainingFiles.readState(checkpoint, UncountedPosition.class);
      position = new Position(read.step(), 0, read.seconds(), read.guard());
    }
    if (position.step() < 0 || position.samples() < 0 || !(position.seconds() >= 0)) {
      throw new CheckpointException(
          "%s: training/state.json has step %d, %d samples and %s seconds; copy the file again, or remove this checkpoint to go on from the one before"
              .formatted(checkpoint, position.step(), position.samples(), position.seconds()));
    }
    OptionalLong named = CheckpointStore.step(checkpoint);
    if (named.isPresent() && named.getAsLong() != position.step()) {
      throw new CheckpointException(
          "%s: training/state.json has step %d, and the folder's name step %d; give it back its name, or remove it to go on from the one before"
              .formatted(checkpoint, position.step(), named.getAsLong()));
    }
    return counted ? position : counted(position, config, checkpoint);
  }

  /**
   * With as many samples as that many steps like the next one take. Those are the right ones unless
   * bubbles were filled on a mesh with other replicas.
   */
  private static Position counted(Position position, RunConfig config, Path checkpoint) {
    TrainConfig train = config.train();
    long regular = BatchSize.samplesBefore(train, position.step() + 1);
    int unit = train.microBatchSize() * config.parallel().dp();
    long fills =
        unit
            * RunSchedules.fills(
                RunSchedules.of(config).schedule(BatchSize.at(train, regular) / unit));
    if (fills > 0) {
      LOG.warn(
          "{}: training/state.json has no samples; taking {} in fills a step, as with parallel.dp:"
              + " {}",
          checkpoint,
          fills,
          config.parallel().dp());
    }
    return new Position(
        position.step(), regular + position.step() * fills, position.seconds(), position.guard());
  }

  /** Nothing that is trained on from a number that is none is ever a number again. */
  private static void requireFinite(Path checkpoint, String what, Tensor values) {
    if (!Tensors.isFinite(values)) {
      throw new CheckpointException(
          "%s: the %s have values that are not finite; remove this checkpoint to go on from the one before"
              .formatted(checkpoint, what));
    }
  }

  /** The model whose exits a run tunes, with the heads it starts from. */
  private static Optional<ModelFolder> tuned(RunConfig config) {
    return config
        .tune()
        .model()
        .map(Path::of)
        .map(
            model ->
                config
                    .tune()
                    .heads()
                    .map(heads -> ModelFolder.resolve(model, Path.of(heads)))
                    .orElseGet(() -> ModelFolder.resolve(model)));
  }

  /** The sums over ranks of this state's gradients. */
  GradientReduction reduction(Gradients gradients) {
    return new GradientReduction(
        model, world, config.stageLayout(), gradients, bucketBytes(config));
  }

  /**
   * This rank's files of a checkpoint: of the model's weights, if it is the first of those with the
   * same parameters, and of the optimizer's state. All ranks call this.
   *
   * @param arena keeps what was put together from several ranks until the files are written
   */
  List<TensorFile> files(Arena arena) {
    List<TensorFile> files = new ArrayList<>();
    if (world.dp().rank() == 0) {
      int part = world.coordinate().pp() * world.mesh().tp() + world.coordinate().tp();
      files.add(ModelWeights.file(model, part, weightFiles(), arena));
    }
    files.add(TrainingFiles.optimizer(model, optimizer.state(), world.rank(), world.mesh().size()));
    return files;
  }

  /** Memory of this rank's weights, and of gradients and optimizer state beside them. */
  TrainingMemory memory() {
    long width = model.parameters().flat().element_size();
    long learned = model.parameters().flat().numel();
    long optimized = optimizer.state().stream().mapToLong(piece -> piece.values().numel()).sum();
    return new TrainingMemory(
        width * model.parameters().frozenCount(),
        width * learned,
        Float.BYTES * (learned + optimized));
  }

  /** How many files the ranks' weights make. */
  int weightFiles() {
    return world.mesh().tp() * world.mesh().pp();
  }

  /** The run's position, which a checkpoint keeps beside tensors. */
  Position position() {
    return new Position(step, samples, seconds, guard.state());
  }

  static Device device(RunConfig config, World world) {
    if (world.mesh().size() > 1) {
      return world.device();
    }
    return switch (config.train().device()) {
      case CPU -> Torch.cpu();
      case CUDA -> Torch.cuda();
    };
  }

  public Decoder model() {
    return model;
  }

  public Optimizer optimizer() {
    return optimizer;
  }

  StepGuard guard() {
    return guard;
  }

  /** The last step taken; 0 before the first. */
  long step() {
    return step;
  }

  /** Samples that all steps so far have taken, those of fills among them; the next one's index. */
  long samples() {
    return samples;
  }

  /** Counts samples that a step has taken. */
  void consume(long count) {
    samples += count;
  }

  /** Time spent in steps so far. */
  double seconds() {
    return seconds;
  }

  /** Bytes of a checkpoint's tensors that this rank has read, its share of what learns. */
  long bytesRead() {
    return bytesRead;
  }

  /** Changes nothing until a copy is made. */
  void lendTo(StateCopy reader) {
    copy = Optional.of(reader);
  }

  /** Waits, before an update, for a copy that is being made. */
  void awaitCopy() {
    copy.ifPresent(StateCopy::await);
    copy = Optional.empty();
  }

  /** Counts a step that has been taken. */
  void advance(double stepSeconds) {
    step++;
    seconds += stepSeconds;
  }

  @Override
  public void close() {
    awaitCopy();
    optimizer.close();
    model.close();
  }
}
