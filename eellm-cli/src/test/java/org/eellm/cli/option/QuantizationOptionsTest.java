package org.eellm.cli.option;

import static org.assertj.core.api.Assertions.assertThat;

import org.eellm.config.MatrixQuantization;
import org.eellm.config.Quantization;
import org.eellm.config.TrainConfig.Device;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import picocli.CommandLine;

final class QuantizationOptionsTest {
  @ParameterizedTest
  @CsvSource({
    "'', CPU, INT4, INT8",
    "'', CUDA, NONE, NONE",
    "--quantize=none, CPU, NONE, NONE",
    "--quantize=int4, CPU, INT4, INT8",
    "--quantize=int8, CUDA, INT8, INT8",
    "--quantize-heads=none, CPU, INT4, NONE",
    "--quantize=int8 --quantize-heads=int4, CPU, INT8, INT4"
  })
  void on_fileOf4Bits_isItsOwnUnlessToldOtherwise(
      String arguments, Device device, Quantization layers, Quantization heads) {
    QuantizationOptions options = new QuantizationOptions();
    new CommandLine(options)
        .setCaseInsensitiveEnumValuesAllowed(true)
        .parseArgs(arguments.isEmpty() ? new String[0] : arguments.split(" "));
    MatrixQuantization stored = new MatrixQuantization(Quantization.INT4, Quantization.INT8);
    assertThat(options.on(device, stored)).isEqualTo(new MatrixQuantization(layers, heads));
  }
}
