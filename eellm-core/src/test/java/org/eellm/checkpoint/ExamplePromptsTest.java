package org.eellm.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class ExamplePromptsTest {
  @TempDir private Path folder;

  @Test
  void read_whatWasWritten_isTheSame_andNoneWithoutAFile() throws IOException {
    assertThat(ExamplePrompts.read(folder).prompts()).isEmpty();
    ExamplePrompts written = new ExamplePrompts(List.of("int a;", "/** ä */\n"));
    written.write(folder);

    assertThat(ExamplePrompts.read(folder)).isEqualTo(written);
  }

  @Test
  void read_damagedFile_isRefusedByName() throws IOException {
    Files.writeString(folder.resolve("prompts.json"), "{\"prompts\": 3}");

    assertThatThrownBy(() -> ExamplePrompts.read(folder))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("prompts.json");
  }
}
