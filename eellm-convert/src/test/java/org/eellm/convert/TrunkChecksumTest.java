package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.golden.GoldenCase;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

final class TrunkChecksumTest {
  @TempDir private Path folder;
  private Path model;

  @BeforeEach
  void copyModel() throws IOException {
    model = folder.resolve("model");
    ModelReaderTest.copy(GoldenCase.named("llama_mlp_norm").folder(), model);
  }

  private static String checksum(Path folder) {
    return new ModelFolder(folder, Optional.empty()).trunkChecksum();
  }

  private Path converted(Path from, SafetensorsType type) {
    Path to = folder.resolve(from.getFileName() + "-" + type);
    try (SourceModel source = ModelReader.open(from)) {
      Options options = new Options(Optional.of(type), Optional.empty());
      ModelWriter.writeModel(source, to, options, (done, total) -> {});
    }
    return to;
  }

  @ParameterizedTest
  @EnumSource(names = {"BF16", "F64"})
  void of_copyInAnotherFormat_isTheSame(SafetensorsType type) {
    assertThat(checksum(converted(model, type))).isEqualTo(checksum(model));
  }

  /** Float32 and float64 hold float16's values exactly. */
  @Test
  void of_widenedFloat16_isTheSame() {
    Path half = converted(model, SafetensorsType.F16);
    assertThat(checksum(converted(half, SafetensorsType.F32))).isEqualTo(checksum(half));
    assertThat(checksum(converted(half, SafetensorsType.F64))).isEqualTo(checksum(half));
  }

  /** The whole model has 4 layers; any byte of any of them counts, and none of the exits'. */
  @ParameterizedTest
  @CsvSource({
    "model.embed_tokens.weight, 0, false",
    "model.layers.0.self_attn.q_proj.weight, 2049, false",
    "model.layers.2.mlp.down_proj.weight, 3001, false",
    "model.layers.3.mlp.up_proj.weight, 6143, false",
    "model.norm.weight, 31, false",
    "lm_head.weight, 8000, false",
    "exits.1.norm.weight, 5, true",
    "exits.3.mlp.up_proj.weight, 3000, true",
  })
  void of_oneValueChanged_isAnother(String name, long index, boolean same) throws IOException {
    String before = checksum(model);
    Path file = model.resolve("model.safetensors");
    long at;
    try (SafetensorsFile opened = SafetensorsFile.open(file)) {
      StoredTensor tensor = opened.tensor(name);
      long header = Files.size(file) - dataSize(opened);
      at = header + offset(opened, name) + Float.BYTES * index;
      assertThat(tensor.bytes().byteSize()).isGreaterThan(Float.BYTES * index);
    }
    byte[] bytes = Files.readAllBytes(file);
    bytes[(int) at + 2] ^= 1; // the last bit that bfloat16 has
    Files.write(file, bytes);

    assertThat(checksum(model).equals(before)).isEqualTo(same);
  }

  private static long dataSize(SafetensorsFile file) {
    return file.tensors().values().stream().mapToLong(t -> t.bytes().byteSize()).sum();
  }

  /** Where a tensor begins behind the header: its mapping's place after the first one's. */
  private static long offset(SafetensorsFile file, String name) {
    long first =
        file.tensors().values().stream().mapToLong(t -> t.bytes().address()).min().orElseThrow();
    return file.tensor(name).bytes().address() - first;
  }
}
