package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.IntStream;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.config.DataType;
import org.eellm.config.ModelConfig;
import org.eellm.config.RopeScaling;
import org.eellm.convert.GgufWriter.Quantization;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The models of {@code src/test/resources/families} as GGUF files and back. */
final class GgufFamiliesTest {
  @TempDir private Path folder;

  private Path write(SourceModel model) throws IOException {
    Path tokenizer = Files.createDirectories(folder.resolve("pairs"));
    Files.writeString(
        tokenizer.resolve("vocab.json"), "{\"a\":0,\"b\":1,\"ab\":2,\"<|endoftext|>\":3}");
    Files.writeString(tokenizer.resolve("merges.txt"), "#version: 0.2\na b\n");
    Path file = folder.resolve("model.gguf");
    GgufWriter.write(
        model,
        file,
        Quantization.F32,
        new Options(Optional.empty(), Optional.of(tokenizer)),
        (done, total) -> {});
    return file;
  }

  @ParameterizedTest
  @CsvSource({
    "gemma2, gemma2",
    "gemma3, gemma3",
    "phi4_mini, phi3",
    "smollm3, smollm3",
    "granite, granite",
    "olmo2, olmo2",
    "olmo3, olmo2",
    "qwen3_moe, qwen3moe",
    "olmoe, olmoe"
  })
  void write_family_readsBackAsTheSameModel(String name, String architecture) throws IOException {
    try (SourceModel source = ModelReader.open(FamiliesTest.theirs(name));
        SourceModel back = ModelReader.open(write(source))) {
      assertThat(back.kind()).isEqualTo("GGUF file, architecture " + architecture);
      ModelConfig model = source.architecture().model();
      boolean gemma = name.startsWith("gemma");
      assertThat(eachLayer(back.architecture().model()))
          .isEqualTo(
              eachLayer(
                  model.toBuilder()
                      .zeroCenteredNorm(false)
                      .initStd(0.02)
                      .ropeScaling(stored(model.ropeScaling()))
                      .dtype(DataType.FLOAT32)
                      .build()));
      for (ModelTensor tensor : source.tensors()) {
        boolean centred = gemma && tensor.shape().size() == 1;
        assertThat(values(back.tensor(tensor.name()), 0))
            .as(tensor.name())
            .isEqualTo(values(tensor.as(SafetensorsType.F32), centred ? 1 : 0));
      }
    }
  }

  /** Files have reals in float32. */
  private static RopeScaling stored(RopeScaling scaling) {
    return scaling instanceof RopeScaling.LongRope scaled
        ? new RopeScaling.LongRope(
            scaled.shortFactors(),
            scaled.longFactors(),
            scaled.originalMaxPositions(),
            Double.parseDouble(Float.toString((float) scaled.attentionFactor())))
        : scaling;
  }

  private static ModelConfig eachLayer(ModelConfig model) {
    return model.toBuilder()
        .layerTypes(IntStream.range(0, model.numLayers()).mapToObj(model::layerType).toList())
        .build();
  }

  private static float[] values(ModelTensor tensor, float plus) throws IOException {
    float[][] all = new float[1][];
    tensor.use(
        value -> {
          try (Scope _ = Scope.open()) {
            all[0] = Tensors.toFloats(value);
          }
        });
    for (int i = 0; i < all[0].length; i++) {
      all[0][i] += plus;
    }
    return all[0];
  }

  @ParameterizedTest
  @CsvSource({
    "gemma3_text", // another pattern of windows
    "phi3", // a window, of which llama.cpp takes no notice
    "mistral_window",
    "qwen2_window",
    "qwen3_window",
    "qwen3_moe_mixed",
    "llama_bias"
  })
  void write_whatLlamaCppDoesNotCompute_isRefused(String name) {
    try (SourceModel source = ModelReader.open(FamiliesTest.theirs(name))) {
      String type = HuggingFaceConfig.fields(FamiliesTest.theirs(name)).text("model_type");
      assertThatThrownBy(() -> write(source))
          .isInstanceOf(CheckpointException.class)
          .hasMessageContaining("llama.cpp has no model of this shape (model_type " + type + ")");
    }
  }
}
