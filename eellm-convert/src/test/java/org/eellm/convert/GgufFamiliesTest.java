package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.eellm.SavedModel;
import org.eellm.checkpoint.huggingface.GgufFamily;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.RopeScaling;
import org.eellm.convert.GgufWriter.Quantization;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.gguf.GgufFile;
import org.eellm.model.Decoder;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

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

  @Test
  void of_centredNormsWithoutWindows_isNone() {
    try (SourceModel source = ModelReader.open(FamiliesTest.theirs("gemma2"))) {
      ModelConfig model = source.architecture().model();
      List<LayerType> full = List.of(LayerType.FULL);
      assertThat(GgufFamily.of(model)).contains(GgufFamily.GEMMA2);
      assertThat(GgufFamily.of(model.toBuilder().layerTypes(full).slidingWindow(0).build()))
          .isEmpty();
    }
  }

  @Test
  void convert_longRope_isForTheContextThatIsAsked() throws IOException {
    Path file;
    try (SourceModel source = ModelReader.open(FamiliesTest.theirs("phi4_mini"))) {
      file = write(source);
    }
    try (SourceModel back = ModelReader.open(file)) {
      assertThat(back.madePositions()).isEqualTo(64);
      assertThat(back.architecture().model().maxPositions()).isEqualTo(16);
      Path ours = folder.resolve("ours");
      ModelWriter.writeModel(back.withMaxPositions(64), ours, Options.asItIs(), (a, b) -> {});
      try (SourceModel longer = ModelReader.open(ours)) {
        assertThat(longer.architecture().model().maxPositions()).isEqualTo(64);
      }
      Path exported = folder.resolve("exported");
      ModelWriter.writeHuggingFace(back, exported, Options.asItIs(), (a, b) -> {});
      assertThat(HuggingFaceConfig.fields(exported).positive("max_position_embeddings"))
          .isEqualTo(64);
    }
  }

  @Test
  void convert_fusedTensors_areRecordedWithTheChecksumsInTheirFile() throws IOException {
    Path file;
    try (SourceModel source = ModelReader.open(FamiliesTest.theirs("phi4_mini"))) {
      file = write(source);
    }
    try (SourceModel back = ModelReader.open(file);
        GgufFile opened = GgufFile.open(file)) {
      FamiliesTest.assertOrigins(
          ModelWriter.writeModel(back, folder.resolve("ours"), Options.asItIs(), (a, b) -> {}),
          name -> Objects.requireNonNull(opened.tensors().get(name)).bytes());
    }
  }

  /** Exits lie beside the file, and predict as those of the folder, whatever norms mean there. */
  @ParameterizedTest
  @ValueSource(strings = {"gemma2", "olmo2", "granite"})
  void write_familyWithExits_readsThemBackBesideTheFile(String name) throws IOException {
    ExitLayout exits = new ExitLayout(List.of(1, 2), true, true, true, false);
    Path ours = folder.resolve("ours");
    Path file;
    try (SourceModel source = ModelReader.open(FamiliesTest.theirs(name))) {
      SourceModel with = ExitEditor.add(source, exits, ExitEditor.Start.COPY, 1);
      ModelWriter.writeModel(with, ours, Options.asItIs(), (done, total) -> {});
      file = write(with);
    }
    long[] text = {3, 14, 15, 9, 26, 5, 35, 8, 9, 7, 9, 32};
    Map<String, float[]> expected = logits(ours, text);
    Map<String, float[]> read = logits(file, text);
    assertThat(read).containsOnlyKeys("exit_1", "exit_2", "final");
    expected.forEach(
        (head, own) ->
            assertThat(read.get(head))
                .as(head)
                .usingComparatorWithPrecision(1e-4f)
                .containsExactly(own));
  }

  private static Map<String, float[]> logits(Path model, long[] text) {
    Architecture architecture = HuggingFaceConfig.read(model).architecture();
    try (Decoder decoder =
        SavedModel.readWeights(model, architecture.withDtype(DataType.FLOAT32), Torch.cpu())) {
      return Layouts.logits(decoder, text);
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
    return model.toBuilder().layerTypes(model.eachLayerType()).build();
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
