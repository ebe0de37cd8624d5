package org.eellm.cli.option;

import java.nio.file.Path;
import java.util.Optional;
import java.util.function.BiFunction;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.config.Architecture;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.TrainConfig.Device;
import org.eellm.decode.LoadedModel;
import org.eellm.model.DecodingModel;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Which model is used, and where it computes, as a mixin. */
public final class ModelOptions {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "DIR",
      description =
          "A model folder, a checkpoint, or a run's output, of which the newest is taken.")
  private Path path;

  @Mixin private TunedPartsOptions tunedParts;
  @Mixin private QuantizationOptions quantizationOptions;
  @Mixin private ComputeOptions compute;

  /**
   * Loads the part of the model that a rank has; see {@link LoadedModel#load}. The calling thread
   * computes with the threads asked for from here on.
   */
  public LoadedModel load(BiFunction<ModelFolder, Architecture, DecodingModel> read) {
    return load(tunedParts.resolve(path), read);
  }

  /** Likewise, with adapters beside it that have names. */
  LoadedModel loadWithAdapters(BiFunction<ModelFolder, Architecture, DecodingModel> read) {
    return load(tunedParts.resolveAll(path), read);
  }

  private LoadedModel load(
      ModelFolder files, BiFunction<ModelFolder, Architecture, DecodingModel> read) {
    compute.useThreads();
    LoadedModel model = LoadedModel.load(files, stored -> read.apply(files, compute.in(stored)));
    BackgroundWarmUp.stop();
    return model;
  }

  /** In place of the model's own exits. */
  Optional<Path> heads() {
    return tunedParts.heads();
  }

  /**
   * The heads, the adapter and the quantization, which decide beside the folder what the model
   * writes.
   */
  public String variant() {
    return "heads %s, adapter %s, quantization %s"
        .formatted(
            heads().map(ModelOptions::whole).orElse("its own"),
            tunedParts.adapter().map(ModelOptions::whole).orElse("none"),
            quantization(tunedParts.resolve(path)));
  }

  private static String whole(Path path) {
    return path.toAbsolutePath().normalize().toString();
  }

  /** How the matrices of a model are rounded, which is {@code --model}'s. */
  MatrixQuantization quantization(ModelFolder files) {
    return quantizationOptions.on(device(), files.quantization());
  }

  public Device device() {
    return compute.device();
  }
}
