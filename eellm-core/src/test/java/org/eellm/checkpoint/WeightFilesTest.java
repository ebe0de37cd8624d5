package org.eellm.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.SafetensorsWriter;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class WeightFilesTest {
  @TempDir Path folder;

  @Test
  void open_singleFile_givesItsTensors() {
    write("model.safetensors", "a", "b");
    try (WeightFiles weights = WeightFiles.open(folder)) {
      assertThat(weights.tensors().keySet()).containsExactly("a", "b");
    }
  }

  @Test
  void open_shards_givesOneView() throws IOException {
    write("model-00001-of-00002.safetensors", "a", "b");
    write("model-00002-of-00002.safetensors", "c");
    index(
        """
        {"metadata":{"total_size":3},"weight_map":{
          "a":"model-00001-of-00002.safetensors",
          "c":"model-00002-of-00002.safetensors",
          "b":"model-00001-of-00002.safetensors"}}
        """);
    try (WeightFiles weights = WeightFiles.open(folder)) {
      assertThat(weights.tensors().keySet()).containsExactly("a", "b", "c");
      assertThat(weights.tensor("c").bytes().get(ValueLayout.JAVA_BYTE, 0)).isEqualTo((byte) 'c');
    }
  }

  @Test
  void open_singleFileAndIndex_takesTheSingleFile() throws IOException {
    write("model.safetensors", "a");
    index("{\"weight_map\":{\"a\":\"missing.safetensors\"}}");
    try (WeightFiles weights = WeightFiles.open(folder)) {
      assertThat(weights.tensors().keySet()).containsExactly("a");
    }
  }

  @Test
  void open_noWeights_isRefused() {
    assertRefused("has neither model.safetensors nor model.safetensors.index.json");
  }

  @Test
  void open_missingShard_isRefused() throws IOException {
    index("{\"weight_map\":{\"a\":\"gone.safetensors\"}}");
    assertRefused("gone.safetensors: is missing");
  }

  @ParameterizedTest
  @ValueSource(strings = {"../x.safetensors", "/etc/passwd", "sub/x.safetensors", "..", ".", ""})
  void open_shardOutsideTheFolder_isRefused(String name) throws IOException {
    index("{\"weight_map\":{\"a\":\"" + name + "\"}}");
    assertRefused("weight_map names the file '" + name + "'; a plain name");
  }

  @Test
  void open_tensorMissingInItsShard_isRefused() throws IOException {
    write("x.safetensors", "b");
    index("{\"weight_map\":{\"a\":\"x.safetensors\"}}");
    assertRefused("has no tensor 'a'");
  }

  @Test
  void open_tensorInTwoShards_isRefused() throws IOException {
    write("x.safetensors", "a", "b");
    write("y.safetensors", "b");
    index("{\"weight_map\":{\"a\":\"x.safetensors\",\"b\":\"y.safetensors\"}}");
    assertRefused("y.safetensors: tensor 'b' is in another shard too");
  }

  @Test
  void open_shardThatIsNoFileOfTensors_isRefused() throws IOException {
    write("x.safetensors", "a");
    Files.writeString(folder.resolve("y.safetensors"), "nothing");
    index("{\"weight_map\":{\"a\":\"x.safetensors\",\"b\":\"y.safetensors\"}}");
    assertRefused("y.safetensors: has 7 bytes");
  }

  @Test
  void open_tensorBesideTheTrunkAndInIt_isRefused() {
    write("model.safetensors", "a", "b");
    write("exits.safetensors", "b");
    assertRefused("tensor 'b' is in another shard too");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "[]",
        "{",
        "{}",
        "{\"weight_map\":[]}",
        "{\"weight_map\":{}}",
        "{\"weight_map\":{\"a\":1}}",
        "{\"weight_map\":{\"a\":\"x\",\"a\":\"y\"}}"
      })
  void open_malformedIndex_isRefused(String json) throws IOException {
    index(json);
    assertRefused("model.safetensors.index.json: ");
  }

  @Test
  void tensor_unknownName_isRefused() {
    write("model.safetensors", "a");
    try (WeightFiles weights = WeightFiles.open(folder)) {
      assertThatThrownBy(() -> weights.tensor("b"))
          .isInstanceOf(CheckpointException.class)
          .hasMessageContaining("no tensor 'b'");
    }
  }

  private void assertRefused(String message) {
    assertThatThrownBy(() -> WeightFiles.open(folder).close())
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(message)
        .message()
        .doesNotContain("\n");
    Mapped.assertNothingOf(folder);
  }

  private void index(String json) throws IOException {
    Files.writeString(folder.resolve("model.safetensors.index.json"), json);
  }

  /** Tensors of one byte, the first of their name. */
  private void write(String file, String... names) {
    SafetensorsWriter.write(
        folder.resolve(file),
        Map.of(),
        Arrays.stream(names)
            .map(
                name ->
                    TensorSource.of(
                        name,
                        SafetensorsType.U8,
                        List.of(1L),
                        MemorySegment.ofArray(new byte[] {(byte) name.charAt(0)})))
            .toList());
  }
}
