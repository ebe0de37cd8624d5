package org.eellm.train.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import org.eellm.train.Events;
import org.eellm.train.TrainException;
import org.eellm.train.optimizer.StepGuard.UpdateDecision;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MetricsFileTest {
  @TempDir Path folder;

  private Path file() {
    return folder.resolve("metrics.jsonl");
  }

  private void write(long lastStep, long from, long to) {
    try (MetricsFile metrics = MetricsFile.open(file(), lastStep)) {
      for (long step = from; step <= to; step++) {
        metrics.accept(Events.step(step, 5.0 / step, UpdateDecision.APPLY));
        if (step % 2 == 0) {
          metrics.accept(Events.evaluation(step, 5.0 / step));
        }
      }
    }
  }

  @Test
  void accept_step_writesEveryValueByName() {
    write(0, 1, 1);
    List<JsonNode> lines = MetricsFile.read(file());
    assertThat(lines).hasSize(1);
    assertThat(lines.getFirst().properties().stream().map(value -> value.getKey()))
        .containsExactly(
            "step",
            "loss",
            "loss_exit_2",
            "loss_exit_4",
            "loss_final",
            "exit_weight_2",
            "exit_weight_4",
            "learning_rate",
            "grad_norm",
            "batch_size",
            "tokens",
            "tokens_per_second",
            "mfu",
            "seconds",
            "waiting",
            "memory");
    assertThat(lines.getFirst().path("loss_exit_4").asDouble()).isEqualTo(5.5);
  }

  @Test
  void accept_evaluation_writesEveryQualityOfEveryHead() {
    write(0, 2, 2);
    JsonNode line = MetricsFile.read(file()).getLast();
    assertThat(line.path("validation_loss_exit_2").asDouble()).isEqualTo(3.5);
    assertThat(line.path("validation_perplexity_final").asDouble())
        .isCloseTo(Math.exp(2.5), within(1e-12));
    assertThat(line.path("validation_bits_per_byte_final").asDouble())
        .isCloseTo(2.5 / Math.log(2) / 4, within(1e-12));
    assertThat(line.path("validation_accuracy_exit_4").asDouble()).isEqualTo(0.3);
  }

  @Test
  void accept_skippedStep_saysWhyAndWritesNullForNaN() throws IOException {
    try (MetricsFile metrics = MetricsFile.open(file(), 0)) {
      metrics.accept(Events.step(1, Double.NaN, UpdateDecision.SKIP_NOT_FINITE));
    }
    assertThat(Files.readString(file()))
        .contains("\"loss\":null")
        .contains("\"skipped\":\"not_finite\"");
  }

  @Test
  void open_onResume_leavesTheFileOfAnUndisturbedRun() throws IOException {
    write(0, 1, 9);
    String undisturbed = Files.readString(file());
    write(4, 5, 9);
    assertThat(Files.readString(file())).isEqualTo(undisturbed);
  }

  @Test
  void open_lastLineCutOff_removesIt() throws IOException {
    write(0, 1, 5);
    String undisturbed = Files.readString(file());
    Files.writeString(file(), "{\"step\":6,\"lo", StandardOpenOption.APPEND);
    write(5, 6, 5);
    assertThat(Files.readString(file())).isEqualTo(undisturbed);
  }

  @Test
  void open_fromTheStart_emptiesTheFile() throws IOException {
    write(0, 1, 5);
    write(0, 1, 0);
    assertThat(file()).isEmptyFile();
  }

  @Test
  void open_lineIsNotMetrics_namesFileAndLine() throws IOException {
    Files.writeString(file(), "{\"step\":1}\nhello\n{\"step\":3}\n");
    assertThatThrownBy(() -> MetricsFile.open(file(), 5))
        .isInstanceOf(TrainException.class)
        .hasMessageContaining("metrics.jsonl:2: not a JSON object with a step");
  }

  @Test
  void open_folderAbsent_saysSo() {
    assertThatThrownBy(() -> MetricsFile.open(folder.resolve("absent/metrics.jsonl"), 0))
        .isInstanceOf(TrainException.class)
        .hasMessageEndingWith("metrics.jsonl: cannot be opened: no such file or folder");
  }
}
