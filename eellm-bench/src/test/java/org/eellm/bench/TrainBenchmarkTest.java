package org.eellm.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.eellm.config.ConfigFile;
import org.eellm.config.Learning;
import org.eellm.config.RunConfig;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class TrainBenchmarkTest {

  private static Path tiny(Path folder) throws IOException {
    Path file = folder.resolve("tiny.yaml");
    Files.writeString(
        file,
        """
        model: {vocab_size: 64, hidden_size: 32, num_layers: 2, num_heads: 2, max_positions: 16}
        exits: {layers: [1], weights: [0.5]}
        data: {sequence_length: 16}
        train: {steps: 1, micro_batch_size: 2, global_batch_size: 2, threads: 1}
        """);
    return file;
  }

  @Tag("slow") // It measures the rate of matrix products between steps.
  @ParameterizedTest
  @CsvSource({"0.1,0,true", "0,0.1,true", "0,0,false"})
  void run_dropout_isTimedWhereTheModelHasIt(
      double hidden, double attention, boolean timed, @TempDir Path folder) throws IOException {
    RunConfig config =
        ConfigFile.read(
            tiny(folder),
            List.of("model.hidden_dropout=" + hidden, "model.attention_dropout=" + attention));

    TrainBenchmark.Report report = TrainBenchmark.run(config, 1);

    assertThat(report.dropoutTime().isPresent()).isEqualTo(timed);
    assertThat(report.withExits().stepSeconds()).isPositive();
  }

  @Test
  void step_layerDropout_isHonoured(@TempDir Path folder) throws IOException {
    assertThat(afterAStep(folder, "train.layer_dropout=0"))
        .isEqualTo(afterAStep(folder, "train.layer_dropout=0"))
        .isNotEqualTo(afterAStep(folder, "train.layer_dropout=0.99"));
  }

  /** The first weights of the last layer, after a step. */
  private static float[] afterAStep(Path folder, String override) throws IOException {
    RunConfig config = ConfigFile.read(tiny(folder), List.of(override));
    try (TrainBenchmark.BenchmarkRun run =
            new TrainBenchmark.BenchmarkRun(
                config, config.architecture(), Learning.EVERYTHING, Torch.cpu());
        Scope _ = Scope.open()) {
      run.step();
      return Tensors.bytes(run.model().parameters().flat())
          .asSlice(0, 4000)
          .toArray(ValueLayout.JAVA_FLOAT);
    }
  }
}
