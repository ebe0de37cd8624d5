package org.eellm.cli.option;

import java.util.Optional;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.TrainConfig;
import org.eellm.config.TrainConfig.Device;
import org.eellm.kernel.machine.Threads;
import picocli.CommandLine.Option;

/** Where and in which number format a model computes, as a mixin. */
public final class ComputeOptions {
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

  public Device device() {
    return device;
  }

  /** A stored model's architecture in the number format asked for. */
  public Architecture in(Architecture stored) {
    return dtype.map(stored::withDtype).orElse(stored);
  }

  /** The calling thread computes with the threads asked for from here on. */
  public void useThreads() {
    if (threads.isPresent()) {
      if (threads.get() < 1 || threads.get() > TrainConfig.MAX_THREADS) {
        throw new ConfigException(
            "--threads: %d is outside 1..%d; use as many as there are cores, or fewer"
                .formatted(threads.get(), TrainConfig.MAX_THREADS));
      }
      Threads.set(threads.get());
    }
  }
}
