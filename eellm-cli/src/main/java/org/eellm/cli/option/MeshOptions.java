package org.eellm.cli.option;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.function.BiFunction;
import java.util.function.Function;
import org.eellm.JvmSetup;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.Learning;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.ParallelConfig;
import org.eellm.config.StageLayout;
import org.eellm.config.StageLayout.Slice;
import org.eellm.config.TrainConfig.Device;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.TensorParallelEngine;
import org.eellm.decode.TensorParallelEngine.EngineStarter;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.model.ContextParallel;
import org.eellm.model.Decoder;
import org.eellm.model.DecoderShard;
import org.eellm.model.DecodingModel;
import org.eellm.model.StoredDecoder.Part;
import org.eellm.model.TensorParallel;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;

/** The ranks that share a model out between them to decode, as a mixin. */
public final class MeshOptions {
  @Option(
      names = "--tp",
      paramLabel = "N",
      defaultValue = "1",
      description =
          "Tensor-parallel size: ranks that share every matrix; ${DEFAULT-VALUE} by default.")
  private int tp;

  @Option(
      names = "--pp",
      paramLabel = "N",
      defaultValue = "1",
      description = "Pipeline stages: ranks with some layers each; ${DEFAULT-VALUE} by default.")
  private int pp;

  @Option(
      names = "--nproc",
      paramLabel = "N",
      description = "Start N ranks on this machine, of tp x pp in all (docs/cluster.md).")
  private Optional<Integer> count = Optional.empty();

  @Option(
      names = "--timeout",
      paramLabel = "SECONDS",
      description = "With several ranks: how long to wait for one; 600 by default.")
  private Optional<Integer> timeout = Optional.empty();

  /** Whether a single rank has the whole model. */
  public boolean isAlone() {
    return tp * pp == 1;
  }

  /** The ranks that share the model, which decide its speed; empty for a single rank. */
  public String variant() {
    return isAlone() ? "" : ", tp %d x pp %d".formatted(tp, pp);
  }

  /** Pipeline stages. */
  public int stages() {
    return pp;
  }

  /** Whether the ranks are started by this command, and so have no standard input. */
  public boolean startsRanks() {
    return count.isPresent();
  }

  /**
   * How many ranks this process is to start; empty if it is a rank itself, or none are asked for.
   *
   * @throws ConfigException if the options contradict each other
   */
  public Optional<Integer> toLaunch(CommandSpec spec) {
    ConfigException.requireAtLeast(1, tp, "--tp");
    ConfigException.requireAtLeast(1, pp, "--pp");
    ConfigException.requireAtLeast(1, timeout.orElse(1), "--timeout");
    require(
        timeout.isEmpty() || !isAlone(),
        "--timeout has no effect on a single rank; leave it out, or give --tp or --pp");
    Optional<Integer> toLaunch = count.flatMap(ranks -> LocalRanks.toLaunch(spec, ranks));
    require(
        toLaunch.orElse(tp * pp) == tp * pp,
        "--nproc: %d ranks for --tp %d x --pp %d; start %d",
        toLaunch.orElse(0),
        tp,
        pp,
        tp * pp);
    return toLaunch;
  }

  private static void require(boolean condition, String message, Object... values) {
    if (!condition) {
      throw new ConfigException(message.formatted(values));
    }
  }

  /** Starts the ranks and waits for them; the exit code. */
  public static int launch(CommandSpec spec, int ranks) {
    return LocalRanks.launch(spec, _ -> ranks, 0, List::of);
  }

  /** Does a rank's work among the ranks that were started; alone where none are asked for. */
  public <T> T inWorld(Device device, Function<World, T> work) {
    if (isAlone()) {
      try (World alone = World.singleRank()) {
        return work.apply(alone);
      }
    }
    Duration limit =
        Duration.ofSeconds(timeout.orElse(ParallelConfig.singleRank().timeoutSeconds()));
    return LocalRanks.inWorld(new Mesh(tp, 1, pp), limit, LocalRanks.transport(device), work);
  }

  /**
   * Loads this rank's part of a model.
   *
   * @throws ConfigException if the ranks cannot share the model out
   */
  public LoadedModel load(ModelOptions options, World world) {
    return options.load(reader(options, world));
  }

  /** Likewise, with adapters beside it for requests that name one. */
  public LoadedModel loadToServe(ModelOptions options, World world) {
    return options.loadWithAdapters(reader(options, world));
  }

  private BiFunction<ModelFolder, Architecture, DecodingModel> reader(
      ModelOptions options, World world) {
    return (files, architecture) ->
        read(files, architecture, options.device(), options.quantization(files), world);
  }

  /**
   * Loads this rank's part of a model, without quantizing it.
   *
   * @throws ConfigException if the ranks cannot share the model out
   */
  public LoadedModel load(ModelFolder files, ComputeOptions compute, World world) {
    return LoadedModel.load(
        files,
        stored ->
            read(files, compute.in(stored), compute.device(), MatrixQuantization.NONE, world));
  }

  private DecodingModel read(
      ModelFolder files,
      Architecture architecture,
      Device device,
      MatrixQuantization quantization,
      World world) {
    StageLayout layout = layout(architecture);
    return switch (device) {
      case CPU -> {
        JvmSetup.requireDecoding();
        yield files.stored(
            new Part(architecture, here(layout, world), shared(world), quantization, false));
      }
      case CUDA ->
          files.read(
              Decoder.allocate(
                  architecture,
                  Learning.EVERYTHING,
                  quantization.layers(),
                  DecoderShard.ofRank(
                      layout, world.pp(), shared(world), ContextParallel.singleRank(), 1),
                  world.device()));
    };
  }

  /**
   * This rank's part of a model with its final head after every layer, in place of its exits.
   *
   * @throws ConfigException if the ranks cannot share it out, or a GPU is to be shared
   */
  public DecodingModel logitLens(
      ModelFolder files, Architecture architecture, Device device, World world) {
    if (device == Device.CUDA) {
      require(isAlone(), "--device cuda: needs a single rank here; leave out --tp and --pp");
      return files.logitLens(architecture, device);
    }
    StageLayout layout = layout(Part.withLens(architecture));
    return files.stored(Part.logitLens(architecture, here(layout, world), shared(world)));
  }

  /** Works with a model, and with engines that other ranks may share. */
  @FunctionalInterface
  public interface SharedWork {
    void run(LoadedModel model, EngineStarter engines) throws IOException;
  }

  /**
   * Loads a model that ranks may share, and works with it on the first of them; the others take
   * part in its engines' steps.
   *
   * @return the exit code
   */
  public int onFirstRank(CommandSpec spec, ModelOptions options, SharedWork work) {
    Optional<Integer> toLaunch = toLaunch(spec);
    return toLaunch.isPresent() ? launch(spec, toLaunch.get()) : share(options, work);
  }

  /**
   * As {@link #onFirstRank}, for work that talks to the user in the terminal: the standard streams
   * and Ctrl-C are the first rank's.
   */
  public int talkingOnFirstRank(CommandSpec spec, ModelOptions options, SharedWork work) {
    Optional<Integer> toLaunch = toLaunch(spec);
    return toLaunch.isPresent()
        ? LocalRanks.launchDialogue(spec, toLaunch.get())
        : share(options, work);
  }

  private int share(ModelOptions options, SharedWork work) {
    return inWorld(
        options.device(),
        world -> {
          LocalRanks.leaveInterruptsToFirstRank(world);
          try (LoadedModel model = load(options, world)) {
            TensorParallelEngine.run(world, model.decoder(), engines -> run(work, model, engines));
          }
          return ExitCode.OK;
        });
  }

  private static void run(SharedWork work, LoadedModel model, EngineStarter engines) {
    try {
      work.run(model, engines);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** How the stages share a model out. */
  private StageLayout layout(Architecture architecture) {
    architecture.requireSplits("--tp", tp);
    int layers = architecture.model().numLayers();
    require(
        pp <= layers,
        "--pp: %d stages are more than the model's %d layers; use at most %d",
        pp,
        layers,
        layers);
    return StageLayout.of(architecture, ParallelConfig.of(tp, 1, pp), 1, Learning.EVERYTHING);
  }

  private static List<Slice> here(StageLayout layout, World world) {
    return List.of(layout.slices().get(world.pp().rank()));
  }

  private static TensorParallel shared(World world) {
    return new TensorParallel(world.tp(), false);
  }
}
