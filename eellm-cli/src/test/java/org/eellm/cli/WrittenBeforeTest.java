package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.eellm.cli.Commands.Outcome;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * What an earlier build wrote is read as before: the run of a small model in {@code
 * src/test/resources/written-by-0.1}, its configuration, checkpoint, dataset, calibration, metrics
 * and a text.
 */
final class WrittenBeforeTest {
  private static final Path WRITTEN = Path.of("eellm-cli/src/test/resources/written-by-0.1");
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir private Path folder;
  private Path run;

  @BeforeEach
  void copy() throws IOException {
    run = folder.resolve("run");
    try (Stream<Path> files = Files.walk(WRITTEN)) {
      for (Path file : files.toList()) {
        Path copy = run.resolve(WRITTEN.relativize(file).toString());
        if (Files.isDirectory(file)) {
          Files.createDirectories(copy);
        } else {
          Files.copy(file, copy);
        }
      }
    }
    // The run kept its data in a folder beside it.
    Path config = run.resolve("config.yaml");
    Files.writeString(
        config, Files.readString(config).replace("data/set", run.resolve("data/set").toString()));
  }

  @Test
  void train_resumed_takesTheSameSteps() throws IOException {
    List<JsonNode> before = metrics();
    Outcome outcome =
        Commands.run(
            "train",
            "--config",
            run.resolve("config.yaml").toString(),
            "--output",
            run.toString(),
            "--resume");

    assertThat(outcome.code()).as(outcome.err()).isZero();
    List<JsonNode> after = metrics();
    assertThat(after).hasSameSizeAs(before);
    for (int i = 0; i < before.size(); i++) {
      JsonNode now = after.get(i);
      before
          .get(i)
          .properties()
          .forEach(
              field -> {
                assertThat(now.has(field.getKey())).as(field.getKey()).isTrue();
                if (field.getKey().matches("(validation_)?loss.*|exit_weight.*|learning_rate")) {
                  assertThat(now.get(field.getKey()).asDouble())
                      .as(field.getKey())
                      .isCloseTo(field.getValue().asDouble(), within(1e-4));
                }
              });
    }
  }

  @Test
  void generate_withCalibration_saysTheSame() throws IOException {
    Outcome outcome =
        Commands.run(
            "generate",
            "--model",
            run.resolve("checkpoints/step_0000004").toString(),
            "--prompt",
            "the cat sat",
            "--max-tokens",
            "8",
            "--calibration",
            run.resolve("calibration.json").toString(),
            "--json");

    assertThat(outcome.code()).as(outcome.err()).isZero();
    JsonNode now = JSON.readTree(outcome.out());
    JsonNode before = JSON.readTree(run.resolve("generated.json").toFile());
    assertThat(names(now)).isEqualTo(names(before));
    for (String field : List.of("text", "ids", "exits", "heads", "finish_reason")) {
      assertThat(now.get(field)).as(field).isEqualTo(before.get(field));
    }
  }

  private static List<String> names(JsonNode object) {
    return object.propertyStream().map(Map.Entry::getKey).toList();
  }

  private List<JsonNode> metrics() throws IOException {
    return Files.readAllLines(run.resolve("metrics.jsonl")).stream()
        .map(
            line -> {
              try {
                return JSON.readTree(line);
              } catch (IOException e) {
                throw new AssertionError(line, e);
              }
            })
        .toList();
  }
}
