package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.eellm.checkpoint.Mapped;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.golden.GoldenCase;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Checkpoints as Megatron's and EE-LLM's ranks save them. */
final class MegatronCheckpointTest {
  /** Cases whose shape Megatron can have. */
  private static final List<String> CASES =
      List.of(
          "llama_embedding",
          "llama_mlp_norm",
          "llama_block_norm",
          "gpt_norm_tied",
          "llama_last_stage_exit",
          "llama_mlp_block_gqa",
          "gpt_mlp_block_own");

  @TempDir private Path folder;

  static List<Arguments> meshes() {
    List<Arguments> all = new ArrayList<>();
    for (String name : CASES) {
      for (int tp : new int[] {1, 2}) {
        for (int pp : new int[] {1, 2, 4}) {
          all.add(Arguments.of(name, tp, pp));
        }
      }
    }
    return all;
  }

  @ParameterizedTest
  @MethodSource("meshes")
  void open_anyMesh_isTheModelItWasMadeOfBitForBit(String name, int tp, int pp) throws IOException {
    try (SourceModel golden = ModelReader.open(GoldenCase.named(name).folder())) {
      MegatronWriter.write(golden, tp, pp, false, folder);
      assertMerged(golden);
    }
  }

  @ParameterizedTest
  @CsvSource({"llama_embedding,2", "gpt_norm_tied,2", "gpt_norm_tied,4"})
  void open_preExits_readTheLayerBefore(String name, int pp) throws IOException {
    try (SourceModel golden = ModelReader.open(GoldenCase.named(name).folder())) {
      MegatronWriter.write(golden, 2, pp, true, folder);
      assertMerged(golden);
    }
  }

  private void assertMerged(SourceModel golden) throws IOException {
    try (SourceModel merged = ModelReader.open(folder)) {
      assertThat(merged.architecture()).isEqualTo(golden.architecture());
      Map<String, String> expected = new LinkedHashMap<>();
      golden.tensors().forEach(tensor -> expected.put(tensor.name(), tensor.sha256()));
      Map<String, String> actual = new LinkedHashMap<>();
      merged.tensors().forEach(tensor -> actual.put(tensor.name(), tensor.sha256()));
      assertThat(actual).containsExactlyInAnyOrderEntriesOf(expected);
    }
  }

  @ParameterizedTest
  @CsvSource({"1,2", "2,2"})
  void open_exitsThatShareTheEmbeddingAsTheFinalHeadDoesNot_haveCopies(int tp, int pp)
      throws IOException {
    try (SourceModel golden = ModelReader.open(GoldenCase.named("llama_norm_shared").folder())) {
      MegatronWriter.write(golden, tp, pp, false, folder);
    }
    try (SourceModel merged = ModelReader.open(folder)) {
      assertThat(merged.architecture().exits().tieOutput()).isFalse();
      for (int layer : merged.architecture().exits().layers()) {
        assertThat(merged.tensor("exits." + layer + ".lm_head.weight").sha256())
            .isEqualTo(merged.tensor("model.embed_tokens.weight").sha256());
      }
    }
  }

  @Test
  void open_missingRank_isNamed() throws IOException {
    ModelReaderTest.copy(Layouts.folder("megatron_tp2_pp2"), folder.resolve("model"));
    Path rank = folder.resolve("model/iter_0000042/mp_rank_01_001");
    Files.delete(rank.resolve("model_optim_rng.pt"));
    Files.delete(rank);
    assertRefused(folder.resolve("model"), "mp_rank_01_001: is missing");
  }

  @Test
  void open_trackerOfAnIterationThatIsNotThere_isNamed() throws IOException {
    Files.writeString(folder.resolve("latest_checkpointed_iteration.txt"), "12");
    assertRefused(folder, "iter_0000012: has no mp_rank_* folders");
    Files.writeString(folder.resolve("latest_checkpointed_iteration.txt"), "../../etc");
    assertRefused(folder, "holds no iteration");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          squared_relu | true | trained with squared_relu, which is not supported
          apply_layernorm_1p | true | trained with apply_layernorm_1p, which is not supported
          num_experts | 8 | trained with num_experts, which is not supported
          normalization | BatchNorm | normalization BatchNorm is not supported
          num_layers | 5 | 5 layers do not divide into 2 stages
          num_layers | x | args.num_layers is malformed
          hidden_size | 32 | has shape
          ffn_hidden_size | 64 | has shape
          num_attention_heads | 3 | 4 does not divide num_heads 3
          padded_vocab_size | 512 | has shape [128, 64], but [256, 64] follows from args
          use_exit_norm | true | lacks encoder.layers.0.exit_norm.weight
          pipeline_model_parallel_size | 4 | is missing
          tensor_model_parallel_size | 100000 | beyond any such checkpoint
          """)
  void open_argumentsThatCannotBeHonoured_areRefusedByName(
      String name, String value, String message) throws IOException {
    try (SourceModel golden = ModelReader.open(GoldenCase.named("llama_embedding").folder())) {
      MegatronWriter.write(golden, 2, 2, false, folder);
    }
    Path first = folder.resolve("iter_0000007/mp_rank_00_000/model_optim_rng.pt");
    Map<String, Object> changed = new LinkedHashMap<>();
    try (PyTorchFile file = PyTorchFile.open(first)) {
      Pickled.Dict args = (Pickled.Dict) ((Pickled.Dict) file.root()).find("args").orElseThrow();
      args.entries()
          .forEach((key, entry) -> changed.put(((Pickled.Text) key).value(), plain(entry)));
      changed.put(
          name,
          value.equals("true")
              ? true
              : value.matches("\\d+") ? (Object) Integer.valueOf(value) : value);
      Map<String, Object> state = new LinkedHashMap<>();
      state.put("args", new PickleWriter.Namespace(changed));
      state.put("model", plain(((Pickled.Dict) file.root()).find("model").orElseThrow()));
      Path other = folder.resolve("changed.pt");
      PickleWriter.save(other, state);
      Files.delete(first);
      Files.move(other, first);
    }
    assertRefused(folder, message);
  }

  private static Object plain(Pickled value) {
    return switch (value) {
      case Pickled.Bool(boolean bool) -> bool;
      case Pickled.Int(long number) -> number;
      case Pickled.Real(double number) -> number;
      case Pickled.Text(String text) -> text;
      case Pickled.Items(List<Pickled> items) ->
          items.stream().map(MegatronCheckpointTest::plain).toList();
      case Pickled.Dict(Map<Pickled, Pickled> entries) -> {
        Map<Object, Object> map = new LinkedHashMap<>();
        entries.forEach((key, entry) -> map.put(plain(key), plain(entry)));
        yield map;
      }
      case Pickled.TensorView view -> view.stored(Arena.ofAuto());
      default -> throw new IllegalArgumentException(value.toString());
    };
  }

  private static void assertRefused(Path path, String message) {
    assertThatThrownBy(() -> ModelReader.open(path).close())
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(message)
        .message()
        .doesNotContain("\n");
    Mapped.assertNothingOf(path);
  }
}
