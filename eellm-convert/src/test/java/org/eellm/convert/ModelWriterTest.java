package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.file.ChecksumFile;
import org.eellm.golden.GoldenCase;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What is written beside a model's tensors, so that what happens to the files later is seen. */
final class ModelWriterTest {
  @TempDir private Path folder;

  /** The commands that write a model folder. */
  enum Command {
    CONVERT,
    REMOVE_EXITS,
    EXPORT
  }

  private Path write(Command command) {
    return write(command, GoldenCase.named("llama_mlp_block_gqa").folder());
  }

  private Path write(Command command, Path model) {
    Path output = folder.resolve("model");
    try (SourceModel source = ModelReader.open(model)) {
      switch (command) {
        case CONVERT ->
            ModelWriter.writeModel(source, output, Options.asItIs(), (done, total) -> {});
        case REMOVE_EXITS -> {
          SourceModel fewer =
              ExitEditor.remove(source, List.of(source.architecture().exits().layers().getLast()));
          ModelWriter.writeModel(fewer, output, Options.asItIs(), (done, total) -> {});
        }
        case EXPORT ->
            ModelWriter.writeHuggingFace(source, output, Options.asItIs(), (done, total) -> {});
      }
    }
    return output;
  }

  @ParameterizedTest
  @EnumSource
  void write_thenAByteOfAnyFileFlips_isNamedByWhoeverOpensIt(Command command) throws IOException {
    Path model = write(command);
    List<Path> files;
    try (Stream<Path> all = Files.list(model)) {
      files = all.toList();
    }
    assertThat(files).hasSizeGreaterThan(3).contains(model.resolve("checksums.txt"));
    for (Path file : files) {
      byte[] bytes = Files.readAllBytes(file);
      bytes[bytes.length / 2] ^= 1;
      Files.write(file, bytes);

      assertThatThrownBy(() -> ModelFolder.resolve(model))
          .isInstanceOf(CheckpointException.class)
          .hasMessageStartingWith(file + ": is not as it was written")
          .hasMessageContaining("remove checksums.txt to take the files as they are");
      assertThatThrownBy(() -> ModelReader.open(model))
          .hasMessageStartingWith(file + ": is not as it was written");

      bytes[bytes.length / 2] ^= 1;
      Files.write(file, bytes);
    }
    assertThat(ModelFolder.resolve(model).folder()).isEqualTo(model);
  }

  @Test
  void write_thenChecksAreSkippedOrTheirFileRemoved_opensWhatIsThere() throws IOException {
    Path model = write(Command.CONVERT);
    Path weights = model.resolve("model.safetensors");
    byte[] bytes = Files.readAllBytes(weights);
    bytes[bytes.length - 1] ^= 1;
    Files.write(weights, bytes);

    System.setProperty(ChecksumFile.PROPERTY, "skip");
    try {
      assertThat(ModelFolder.resolve(model).folder()).isEqualTo(model);
    } finally {
      System.clearProperty(ChecksumFile.PROPERTY);
    }
    Files.delete(model.resolve("checksums.txt"));
    assertThat(ModelFolder.resolve(model).folder()).isEqualTo(model);
  }

  @ParameterizedTest
  @EnumSource
  void write_modelWithACalibrationAndDrafts_copiesThemUnlessExitsChange(Command command)
      throws IOException {
    Path model = folder.resolve("calibrated");
    try (SourceModel source = ModelReader.open(GoldenCase.named("llama_mlp_block_gqa").folder())) {
      ModelWriter.writeModel(source, model, Options.asItIs(), (done, total) -> {});
    }
    String text = "{\"policy\": \"margin\", \"thresholds\": {\"1\": 0.5}}";
    Files.writeString(model.resolve("calibration.json"), text);
    Files.writeString(model.resolve("draft_table.safetensors"), "a table");

    Path copy = write(command, model).resolve("calibration.json");

    assertThat(copy.resolveSibling("draft_table.safetensors")).hasContent("a table");
    if (command == Command.REMOVE_EXITS) {
      assertThat(copy).doesNotExist();
    } else {
      assertThat(copy).hasContent(text);
      Files.writeString(copy, text.replace("5", "6"));
      assertThat(ModelFolder.resolve(folder.resolve("model")).folder()).isNotNull();
      if (command == Command.EXPORT) { // again, of exits beside a trunk
        try (SourceModel exported = ModelReader.open(folder.resolve("model"))) {
          assertThat(exported.calibration()).contains(copy);
        }
      }
    }
  }

  /** {@code eellm calibrate} writes the list anew. */
  @Test
  void write_thenTheListOfDraftsChanges_opens() throws IOException {
    Path model = write(Command.CONVERT);
    Files.writeString(model.resolve("draft_vocabulary.json"), "{\"ids\": [1, 2]}");
    try (SourceModel copied = ModelReader.open(model)) {
      Path copy = folder.resolve("copy");
      ModelWriter.writeModel(copied, copy, Options.asItIs(), (done, total) -> {});
      Files.writeString(copy.resolve("draft_vocabulary.json"), "{\"ids\": [1, 2, 3]}");
      assertThat(ModelFolder.resolve(copy).folder()).isEqualTo(copy);
    }
  }
}
