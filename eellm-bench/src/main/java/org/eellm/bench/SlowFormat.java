package org.eellm.bench;

import java.util.Optional;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.DataType;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig.Device;
import org.eellm.tensor.DeviceThroughput;
import org.eellm.tensor.Torch;

/** Whether a benchmark of training will take many times as long as it need, in bfloat16. */
public final class SlowFormat {
  private static final double RATE_SECONDS = 0.05;

  private SlowFormat() {}

  /** What to say before minutes pass without a word; empty where the format is no obstacle. */
  public static Optional<String> of(RunConfig config) {
    if (config.model().dtype() != DataType.BFLOAT16 || config.train().device() == Device.CUDA) {
      return Optional.empty();
    }
    return DeviceThroughput.slowBfloat16(
        DeviceThroughput.gemm(ScalarType.BFloat16, Torch.cpu(), RATE_SECONDS),
        DeviceThroughput.gemm(ScalarType.Float, Torch.cpu(), RATE_SECONDS));
  }
}
