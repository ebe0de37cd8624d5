package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.eellm.SavedModel;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.config.ConfigException;
import org.eellm.config.ExitLayout;
import org.eellm.convert.ExitEditor.Start;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.golden.GoldenCase;
import org.eellm.model.Decoder;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Exits given to models and taken from them. */
final class ExitEditorTest {
  @TempDir private Path folder;

  private static SourceModel golden(String name) {
    return ModelReader.open(GoldenCase.named(name).folder());
  }

  private static ExitLayout heads(List<Integer> layers, String parts) {
    return new ExitLayout(
        layers,
        parts.contains("norm"),
        parts.contains("mlp"),
        parts.contains("block"),
        parts.contains("tied"));
  }

  private static Map<String, String> checksums(SourceModel model) {
    Map<String, String> checksums = new TreeMap<>();
    model.tensors().forEach(tensor -> checksums.put(tensor.name(), tensor.sha256()));
    return checksums;
  }

  @Test
  void add_byCopy_takesTheModulesOfEeTuning() {
    try (SourceModel plain = golden("llama_mlp_block_gqa")) {
      SourceModel trunk = ExitEditor.remove(plain, List.of(1, 2, 4));
      Map<String, String> all =
          checksums(ExitEditor.add(trunk, heads(List.of(2), "norm mlp block"), Start.COPY, 1));
      assertThat(all).containsAllEntriesOf(checksums(trunk));
      assertThat(all.get("exits.2.lm_head.weight")).isEqualTo(all.get("lm_head.weight"));
      assertThat(all.get("exits.2.norm.weight")).isEqualTo(all.get("model.norm.weight"));
      for (String matrix : new String[] {"gate_proj", "up_proj", "down_proj"}) {
        assertThat(all.get("exits.2.mlp." + matrix + ".weight"))
            .isEqualTo(all.get("model.layers.1.mlp." + matrix + ".weight"));
      }
      trunk.tensors().stream()
          .filter(tensor -> tensor.name().startsWith("model.layers.3."))
          .forEach(
              tensor ->
                  assertThat(all.get(tensor.name().replace("model.layers.3.", "exits.2.block.")))
                      .isEqualTo(all.get(tensor.name())));
    }
  }

  @Test
  void add_byCopyOfATiedModel_takesTheEmbeddingOrSharesIt() {
    try (SourceModel plain = golden("llama_norm_tied")) {
      SourceModel trunk = ExitEditor.remove(plain, List.of(2, 3));
      Map<String, String> own =
          checksums(ExitEditor.add(trunk, heads(List.of(1), "norm"), Start.COPY, 1));
      assertThat(own.get("exits.1.lm_head.weight")).isEqualTo(own.get("model.embed_tokens.weight"));
      Map<String, String> tied =
          checksums(ExitEditor.add(trunk, heads(List.of(1), "norm tied"), Start.COPY, 1));
      assertThat(tied).doesNotContainKey("exits.1.lm_head.weight");
    }
  }

  @Test
  void add_tiedToAnOutputMatrixOfItsOwn_storesItOnce() {
    try (SourceModel plain = golden("llama_norm_shared")) {
      SourceModel trunk = ExitEditor.remove(plain, List.of(1, 3));
      SourceModel shared = ExitEditor.add(trunk, heads(List.of(1, 3), "norm tied"), Start.COPY, 1);
      assertThat(shared.architecture()).isEqualTo(plain.architecture());
      assertThat(checksums(shared).keySet()).isEqualTo(checksums(plain).keySet());
      assertThat(checksums(shared)).containsKey("lm_head.weight");
    }
  }

  /** The last exit by copy, behind the last layer, is the final head's twin. */
  @ParameterizedTest
  @ValueSource(strings = {"llama_embedding", "gpt_norm_tied", "qwen_block_norm"})
  void add_copyAfterTheLastLayer_saysWhatTheFinalHeadSays(String name) {
    try (SourceModel model = golden(name)) {
      SourceModel trunk = ExitEditor.remove(model, model.architecture().exits().layers());
      ModelWriter.writeModel(
          ExitEditor.add(trunk, heads(List.of(4), "norm mlp"), Start.COPY, 1),
          folder.resolve("model"),
          Options.asItIs(),
          (done, total) -> {});
    }
    try (Decoder decoder =
        SavedModel.readWeights(
            folder.resolve("model"),
            HuggingFaceConfig.read(folder.resolve("model")).architecture(),
            Torch.cpu())) {
      Map<String, float[]> logits = Layouts.logits(decoder, new long[] {3, 1, 4, 1, 5});
      assertThat(logits.get("exit_4")).containsExactly(logits.get("final"));
    }
  }

  @Test
  void add_random_isTheInitializationOfTraining() {
    try (SourceModel plain = golden("llama_embedding")) {
      SourceModel trunk = ExitEditor.remove(plain, List.of(1, 2));
      ModelWriter.writeModel(
          ExitEditor.add(trunk, heads(List.of(2), "norm mlp"), Start.RANDOM, 7),
          folder.resolve("model"),
          Options.asItIs(),
          (done, total) -> {});
    }
    try (SourceModel written = ModelReader.open(folder.resolve("model"));
        Decoder initial = Decoder.allocate(written.architecture(), Torch.cpu())) {
      initial.initialize(7);
      for (ModelTensor tensor : written.tensors()) {
        if (tensor.name().startsWith("exits.")) {
          assertThat(
                  tensor
                      .origins()
                      .getFirst()
                      .stored()
                      .bytes()
                      .toArray(ValueLayout.JAVA_FLOAT_UNALIGNED))
              .as(tensor.name())
              .containsExactly(Tensors.toFloats(initial.parameters().get(tensor.name()).value()));
        }
      }
    }
  }

  @Test
  void add_toAModelWithExits_keepsThese() {
    try (SourceModel model = golden("llama_mlp_norm")) {
      SourceModel more = ExitEditor.add(model, heads(List.of(2), "norm mlp"), Start.COPY, 1);
      assertThat(more.architecture().exits().layers()).containsExactly(1, 2, 3);
      assertThat(checksums(more)).containsAllEntriesOf(checksums(model));
      SourceModel back = ExitEditor.remove(more, List.of(2));
      assertThat(checksums(back)).isEqualTo(checksums(model));
      assertThat(back.architecture()).isEqualTo(model.architecture());
    }
  }

  @Test
  void addAndRemove_whatCannotBe_isRefused() {
    try (SourceModel model = golden("llama_mlp_norm")) {
      assertRefused(
          () -> ExitEditor.add(model, heads(List.of(3), "norm mlp"), Start.COPY, 1),
          "has an exit after layer 3 already");
      assertRefused(
          () -> ExitEditor.add(model, heads(List.of(2), "norm"), Start.COPY, 1),
          "the model's exits are mlp,norm, and all exits of a model are alike");
      assertRefused(
          () -> ExitEditor.add(model, heads(List.of(5), "norm mlp"), Start.COPY, 1),
          "5 is beyond the model's 4 layers; use 1..4");
      assertRefused(() -> ExitEditor.remove(model, List.of(2)), "has no exit after layer 2");
    }
  }

  private static void assertRefused(Runnable action, String message) {
    assertThatThrownBy(action::run)
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining(message)
        .message()
        .doesNotContain("\n");
  }
}
