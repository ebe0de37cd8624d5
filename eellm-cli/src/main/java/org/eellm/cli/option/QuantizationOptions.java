package org.eellm.cli.option;

import java.util.Locale;
import java.util.Optional;
import org.eellm.config.ConfigException;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.Quantization;
import org.eellm.config.TrainConfig.Device;
import picocli.CommandLine.Option;

/** How matrices are rounded, as a mixin. */
public final class QuantizationOptions {
  @Option(
      names = "--quantize",
      paramLabel = "TYPE",
      description =
          "int8 or int4: keep the matrices in 8 or 4 bits; none by default, or, on CPUs, what a"
              + " GGUF file has.")
  private Optional<Quantization> layers = Optional.empty();

  @Option(
      names = "--quantize-heads",
      paramLabel = "TYPE",
      description =
          "The same for the output matrices: none, int8 or int4; as --quantize by default, but int8"
              + " with int4.")
  private Optional<Quantization> heads = Optional.empty();

  @Option(
      names = "--quantize-cache",
      paramLabel = "TYPE",
      description =
          "int8: keep keys and values in 8 bits; none, the model's own format, by default.")
  private Quantization cache = Quantization.NONE;

  /**
   * How they are rounded.
   *
   * @param stored how they are in the model's files, which CPUs can multiply with
   * @throws ConfigException if the device cannot multiply with such
   */
  public MatrixQuantization on(Device device, MatrixQuantization stored) {
    MatrixQuantization all =
        layers.isEmpty() && device == Device.CPU
            ? new MatrixQuantization(stored.layers(), heads.orElse(stored.heads()))
            : asked();
    if (cache == Quantization.INT4) {
      throw new ConfigException(
          "--quantize-cache int4: keys and values have 8 bits at least; use int8");
    }
    if (device == Device.CUDA && cache != Quantization.NONE) {
      throw new ConfigException(
          "--quantize-cache int8: GPUs keep keys and values in the model's format; leave it out, or"
              + " use --device cpu");
    }
    if (device == Device.CUDA && all.layers() == Quantization.INT4) {
      throw new ConfigException(
          "--quantize int4: GPUs multiply with 8 bits at least; use int8, or --device cpu");
    }
    if (device == Device.CUDA && all.heads() != all.layers()) {
      throw new ConfigException(
          "--quantize-heads %s: on GPUs all matrices are rounded alike; leave it out, or use --device cpu"
              .formatted(name(all.heads())));
    }
    return all.withCache(cache);
  }

  private static String name(Quantization quantization) {
    return quantization.name().toLowerCase(Locale.ROOT);
  }

  private MatrixQuantization asked() {
    MatrixQuantization usual = MatrixQuantization.of(layers.orElse(Quantization.NONE));
    return new MatrixQuantization(usual.layers(), heads.orElse(usual.heads()));
  }
}
