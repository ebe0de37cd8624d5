package org.eellm.cli.option;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.Learning;
import org.eellm.config.ParallelConfig;
import org.eellm.config.PipelineLayout;
import org.eellm.config.PipelineLayout.Slice;
import org.eellm.config.TrainConfig.Device;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.SharedSteps;
import org.eellm.decode.SharedSteps.EngineStarter;
import org.eellm.distributed.Mesh;
import org.eellm.distributed.World;
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
      description = "Start the ranks, tp x pp of them, on this machine (docs/cluster.md).")
  private Optional<Integer> count = Optional.empty();

  @Option(
      names = "--timeout",
      paramLabel = "SECONDS",
      description = "With several ranks: how long to wait for one; 600 by default.")
  private Optional<Integer> timeout = Optional.empty();

  /** Whether this is one process, alone. */
  public boolean isAlone() {
    return tp == 1 && pp == 1 && count.isEmpty();
  }

  /** What beside the model decides how fast it is; empty for a single rank. */
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
   * How many ranks this process is to start; empty if it is a rank itself, or alone.
   *
   * @throws ConfigException if the options contradict each other
   */
  public Optional<Integer> toLaunch(CommandSpec spec) {
    require(tp >= 1, "--tp: %d is below 1; use 1 or more", tp);
    require(pp >= 1, "--pp: %d is below 1; use 1 or more", pp);
    require(
        count.orElse(tp * pp) == tp * pp,
        "--nproc: %d ranks for --tp %d x --pp %d; start %d",
        count.orElse(0),
        tp,
        pp,
        tp * pp);
    require(timeout.orElse(1) >= 1, "--timeout: %d is below 1; use 1 or more", timeout.orElse(0));
    require(
        timeout.isEmpty() || !isAlone(),
        "--timeout has no effect on a single rank; leave it out, or give --tp or --pp");
    return count.flatMap(ranks -> LocalRanks.toLaunch(spec, ranks));
  }

  private static void require(boolean condition, String message, Object... values) {
    if (!condition) {
      throw new ConfigException(message.formatted(values));
    }
  }

  /** Starts the ranks and waits for them; the exit code. */
  public static int launch(CommandSpec spec, int ranks) {
    return LocalRanks.launch(spec, ranks, 0, List::of);
  }

  /** Does a rank's work among the ranks that were started; alone where none are asked for. */
  public <T> T inWorld(Device device, Function<World, T> work) {
    if (tp * pp == 1) {
      try (World alone = World.singleRank()) {
        return work.apply(alone);
      }
    }
    Duration limit =
        Duration.ofSeconds(timeout.orElse(ParallelConfig.singleRank().timeoutSeconds()));
    return LocalRanks.inWorld(new Mesh(tp, 1, pp), limit, LocalRanks.transport(device), work);
  }

  /** Loads this rank's part of a model. */
  public LoadedModel load(ModelOptions options, World world) {
    return options.load((files, architecture) -> read(files, architecture, options, world));
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
    if (toLaunch.isPresent()) {
      return launch(spec, toLaunch.get());
    }
    return inWorld(
        options.device(),
        world -> {
          try (LoadedModel model = load(options, world)) {
            SharedSteps.run(world, model.decoder(), engines -> run(work, model, engines));
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

  /**
   * Gets a rank's part of a model from its files.
   *
   * @throws ConfigException if the ranks cannot share the model out
   */
  private DecodingModel read(
      ModelFolder files, Architecture architecture, ModelOptions options, World world) {
    architecture.requireSplits("--tp", tp);
    int layers = architecture.model().numLayers();
    require(
        pp <= layers,
        "--pp: %d stages are more than the model's %d layers; use at most %d",
        pp,
        layers,
        layers);
    Learning whole = Learning.EVERYTHING;
    PipelineLayout pipelineLayout =
        PipelineLayout.of(architecture, ParallelConfig.of(tp, 1, pp), 1, whole);
    TensorParallel parallel = new TensorParallel(world.tp(), false);
    return switch (options.device()) {
      case CPU -> {
        List<Slice> here = List.of(pipelineLayout.slices().get(world.pp().rank()));
        yield files.stored(
            new Part(architecture, here, parallel, options.quantization(files), false));
      }
      case CUDA ->
          files.read(
              Decoder.allocate(
                  architecture,
                  whole,
                  options.quantization(files).layers(),
                  DecoderShard.ofRank(pipelineLayout, world.pp(), parallel, 1),
                  world.device()));
    };
  }
}
