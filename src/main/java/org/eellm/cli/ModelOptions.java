package org.eellm.cli;

import java.nio.file.Path;
import java.util.Optional;
import java.util.function.Function;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.TrainConfig.Device;
import org.eellm.model.Decoder;
import org.eellm.tensor.Torch;
import picocli.CommandLine.Option;

/** Which model is used, and where it computes, as a mixin. */
final class ModelOptions {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "DIR",
      description =
          "A model folder, a checkpoint, or a run's output, of which the newest is taken.")
  private Path path;

  @Option(
      names = "--heads",
      paramLabel = "DIR",
      description =
          "Exits to use in place of the model's own, made for the same trunk: a folder of heads, or"
              + " the output of eellm tune.")
  private Optional<Path> heads = Optional.empty();

  @Option(
      names = "--device",
      paramLabel = "DEVICE",
      defaultValue = "cpu",
      description = "cpu or cuda; ${DEFAULT-VALUE} by default.")
  private Device device;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      description = "float32 or bfloat16; the model's own by default.")
  private Optional<DataType> dtype;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "CPU threads; as many as there are cores by default.")
  private Optional<Integer> threads;

  /** Loads the model; the calling thread computes with the threads asked for from here on. */
  LoadedModel load() {
    useThreads();
    return LoadedModel.load(ModelFolder.resolve(path, heads), device, dtype);
  }

  /** The same of the part that a rank has; see {@link LoadedModel#load}. */
  LoadedModel load(Function<Architecture, Decoder> allocate) {
    useThreads();
    return LoadedModel.load(ModelFolder.resolve(path, heads), dtype, allocate);
  }

  Device device() {
    return device;
  }

  private void useThreads() {
    if (threads.isPresent()) {
      if (threads.get() < 1) {
        throw new ConfigException("--threads: " + threads.get() + " is below 1; use 1 or more");
      }
      Torch.setThreads(threads.get());
    }
  }
}
