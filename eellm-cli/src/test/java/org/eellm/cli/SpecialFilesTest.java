package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.stream.Stream;
import org.eellm.cli.Commands.Outcome;
import org.eellm.decode.SmallModel;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Pipes and devices where files belong, and files that have commands for a terminal. */
final class SpecialFilesTest {
  private static final String REFUSED = "is a pipe or a device; give a regular file";

  @TempDir private Path folder;

  @BeforeEach
  void writeModel() throws IOException {
    try (Decoder model = SmallModel.plain()) {
      SmallModelFolder.write(folder.resolve("model"), model);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
        "calibration.json",
        "draft_vocabulary.json",
      })
  void pipeInAModelsFolder_isRefused(String name) throws Exception {
    Path file = folder.resolve("model").resolve(name);
    Files.deleteIfExists(file);
    pipe(file);
    assertRefused(
        file,
        "generate --mode early-exit --max-tokens 1 --prompt a --model",
        folder.resolve("model"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "generate --model MODEL --prompt-file",
        "generate --model MODEL --prompt a --calibration",
        "serve --model MODEL --api-key-file",
        "train --output OUT --config",
        "tune --output OUT --model MODEL --config",
        "plan --hardware a100-80gb --config",
        "eval --data OUT --model MODEL --output OUT --tasks",
      })
  void pipeOrDeviceInPlaceOfAnOptionsFile_isRefused(String command) throws Exception {
    String words =
        command
            .replace("MODEL", folder.resolve("model").toString())
            .replace("OUT", folder.resolve("out").toString());
    Path pipe = folder.resolve("pipe.yaml");
    pipe(pipe);
    assertRefused(pipe, words, pipe);
    Path zero = Files.createSymbolicLink(folder.resolve("zero.yaml"), Path.of("/dev/zero"));
    assertRefused(zero, words, zero);
  }

  @Test
  void pipeInPlaceOfATextOrGgufFile_isRefused() throws Exception {
    Path text = folder.resolve("text.txt");
    pipe(text);
    assertRefused(
        text, "prepare --vocab-size 300 --output " + folder.resolve("data") + " --input", text);
    Path gguf = folder.resolve("model.gguf");
    pipe(gguf);
    assertRefused(gguf, "inspect", gguf);
  }

  private static void assertRefused(Path file, String words, Object last) {
    Outcome outcome =
        assertTimeoutPreemptively(Duration.ofSeconds(60), () -> Commands.runWords(words, last));
    assertThat(outcome.code()).as(outcome.err()).isNotZero();
    assertThat(outcome.err()).contains(REFUSED).contains(file.getFileName().toString());
    assertThat(outcome.err()).doesNotContain("unexpected");
  }

  private static void pipe(Path file) throws IOException, InterruptedException {
    assertThat(new ProcessBuilder("mkfifo", file.toString()).start().waitFor()).isZero();
  }

  @Test
  void commandsToTheTerminal_arePrintedAsText() throws IOException {
    Path config = folder.resolve("model/config.json");
    String hostile = "\\u001b[2J\\u001b]0;title\\u0007\\u009b31m\\u202e";
    Files.writeString(
        config,
        Files.readString(config)
            .replaceFirst(
                "\"model_type\" *: *\"[^\"]*\"",
                "\"model_type\": \"" + hostile.replace("\\", "\\\\") + "\""));
    for (String command : new String[] {"inspect", "generate --prompt a --model"}) {
      Outcome outcome = Commands.runWords(command, folder.resolve("model"));
      assertThat(outcome.code()).isNotZero();
      assertThat(outcome.err()).contains(hostile.substring(0, 9));
      assertThat(Stream.of(outcome.out(), outcome.err()))
          .allSatisfy(
              text ->
                  assertThat(text)
                      .doesNotContainPattern("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202e]"));
    }
  }
}
