package org.eellm.bench;

import java.util.Locale;
import java.util.function.Function;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.Quantization;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.model.Decoder;
import org.eellm.model.DecodingModel;
import org.eellm.model.StoredDecoder;
import org.eellm.tensor.Torch;

/** The model of a configuration with random weights, as commands that generate load one. */
final class RandomModel {
  private RandomModel() {}

  /**
   * Runs a measurement with the model, on the configuration's device and threads.
   *
   * @param quantization of its matrices; on GPUs alike for all
   */
  static <T> T measure(
      RunConfig config, MatrixQuantization quantization, Function<DecodingModel, T> measurement) {
    TrainConfig train = config.train();
    Torch.setThreads(train.threads());
    return switch (train.device()) {
      case CPU -> {
        Decoder decoder = Decoder.allocate(config.architecture(), Torch.cpu());
        decoder.initialize(train.seed());
        try (StoredDecoder model = StoredDecoder.of(decoder, quantization)) {
          KernelRunner.pack(model);
          yield measurement.apply(model);
        }
      }
      case CUDA -> {
        try (Decoder model =
            Decoder.allocate(config.architecture(), quantization.layers(), Torch.cuda())) {
          model.initialize(train.seed());
          yield measurement.apply(model);
        }
      }
    };
  }

  /** Its number format, as reports tell it. */
  static String dtype(RunConfig config, MatrixQuantization quantization) {
    String format =
        quantization.layers() == Quantization.NONE && quantization.heads() == Quantization.NONE
            ? config.model().dtype().name()
            : quantization.toString();
    return format.toLowerCase(Locale.ROOT);
  }
}
