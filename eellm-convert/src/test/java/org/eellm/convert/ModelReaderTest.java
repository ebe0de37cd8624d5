package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.tuple;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Stream;
import org.eellm.checkpoint.HuggingFaceFamily;
import org.eellm.checkpoint.WeightFiles;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.convert.ModelWriter.Outcome;
import org.eellm.golden.GoldenCase;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.FieldSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Models of other tools' layouts, read and written. */
final class ModelReaderTest {
  private static final JsonMapper JSON = new JsonMapper();

  @TempDir private Path folder;

  private Outcome convert(Path from, String to) {
    try (SourceModel model = ModelReader.open(from)) {
      return ModelWriter.writeModel(
          model, folder.resolve(to), Options.asItIs(), (done, total) -> {});
    }
  }

  private Outcome exportHuggingFace(Path from, String to) {
    try (SourceModel model = ModelReader.open(from)) {
      return ModelWriter.writeHuggingFace(
          model, folder.resolve(to), Options.asItIs(), (done, total) -> {});
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"gpt2", "gpt_neox", "gpt_neox_parallel", "megatron_tp2_pp2", "megatron_tp1_pp2"})
  void convert_otherLayout_computesWhatPyTorchComputes(String name) {
    convert(Layouts.folder(name), "model");
    Layouts.assertLogits(folder.resolve("model"), Layouts.folder(name));
  }

  @Test
  void convert_megatronsIterationFolder_isReadLikeTheFolderOfAll() {
    convert(Layouts.folder("megatron_tp2_pp2"), "all");
    convert(Layouts.folder("megatron_tp2_pp2").resolve("iter_0000042"), "one");
    assertThat(folder.resolve("all/model.safetensors"))
        .hasSameBinaryContentAs(folder.resolve("one/model.safetensors"));
  }

  static final List<String> GOLDEN = GoldenCase.NAMES;

  @ParameterizedTest
  @FieldSource("GOLDEN")
  void convert_ownLayout_keepsEveryByteAndField(String name) throws IOException {
    Path golden = GoldenCase.named(name).folder();
    Outcome outcome = convert(golden, "model");
    assertThat(outcome.copies()).isEqualTo(outcome.tensors().size());
    assertThat(folder.resolve("model/model.safetensors"))
        .satisfies(written -> assertSameTensors(golden.resolve("model.safetensors"), written));
    assertThat(json(folder.resolve("model/config.json")))
        .isEqualTo(json(golden.resolve("config.json")));
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama_mlp_block_gqa", "llama_norm_tied", "llama_embedding"})
  void huggingFace_exported_opensAsAPlainModelAndComesBackWhole(String name) throws IOException {
    Path golden = GoldenCase.named(name).folder();
    exportHuggingFace(golden, "exported");
    assertThat(json(folder.resolve("exported/config.json")).has("early_exit")).isFalse();
    try (SafetensorsFile trunk =
        SafetensorsFile.open(folder.resolve("exported/model.safetensors"))) {
      assertThat(trunk.tensors().keySet()).noneMatch(tensor -> tensor.startsWith("exits."));
    }
    assertThat(HuggingFaceConfig.read(folder.resolve("exported")).architecture())
        .isEqualTo(HuggingFaceConfig.read(golden).architecture());

    convert(folder.resolve("exported"), "back");
    assertSameTensors(
        golden.resolve("model.safetensors"), folder.resolve("back/model.safetensors"));
    assertThat(json(folder.resolve("back/config.json")))
        .isEqualTo(json(golden.resolve("config.json")));
  }

  @ParameterizedTest
  @CsvSource({"neox_parallel_mlp, gpt_neox", "gpt_mlp_block_own, gpt2"})
  void huggingFace_gptWithExits_comesBackWhole(String name, String modelType) throws IOException {
    Path golden = GoldenCase.named(name).folder();
    exportHuggingFace(golden, "exported");
    assertThat(json(folder.resolve("exported/config.json")).path("model_type").asText())
        .isEqualTo(modelType);

    try (SourceModel before = ModelReader.open(golden);
        SourceModel after = ModelReader.open(folder.resolve("exported"))) {
      assertThat(after.architecture()).isEqualTo(before.architecture());
      assertThat(after.tensors())
          .extracting(ModelTensor::name, ModelTensor::sha256)
          .containsExactlyInAnyOrderElementsOf(
              before.tensors().stream()
                  .map(tensor -> tuple(tensor.name(), tensor.sha256()))
                  .toList());
    }
  }

  @Test
  void huggingFace_gpt2ThereAndBack_isTheSameBitForBit() throws IOException {
    convert(Layouts.folder("gpt2"), "model");
    exportHuggingFace(folder.resolve("model"), "exported");
    try (PyTorchWeights before = PyTorchWeights.open(Layouts.folder("gpt2"));
        SafetensorsFile after =
            SafetensorsFile.open(folder.resolve("exported/model.safetensors"))) {
      assertThat(after.tensors()).hasSize(before.tensors().size() - 2); // the causal masks
      after
          .tensors()
          .forEach(
              (name, tensor) ->
                  assertSame(
                      Objects.requireNonNull(
                          before.tensors().get(name.replace("transformer.", ""))),
                      tensor,
                      name));
    }
    JsonNode before = json(Layouts.folder("gpt2").resolve("config.json"));
    JsonNode after = json(folder.resolve("exported/config.json"));
    for (String field :
        new String[] {"n_embd", "n_layer", "n_head", "n_positions", "vocab_size", "model_type"}) {
      assertThat(after.get(field)).as(field).isEqualTo(before.get(field));
    }
    convert(folder.resolve("exported"), "again");
    assertSameTensors(
        folder.resolve("model/model.safetensors"), folder.resolve("again/model.safetensors"));
  }

  @ParameterizedTest
  @CsvSource({
    "LLAMA_2, F16, 2",
    "LLAMA_3_2, BF16, 1",
    "MISTRAL, BF16, 3",
    "QWEN2, BF16, 1",
    "QWEN3, F32, 2",
    "SMOLLM, F32, 1",
    "GPT2, F32, 1",
    "GPT2, BF16, 2",
    "GPT_NEOX, F16, 2",
    "GPT_NEOX, F32, 1"
  })
  void huggingFace_anyFamilyThereAndBack_isTheSameBitForBit(
      HuggingFaceFamily family, SafetensorsType type, int shards) throws IOException {
    family.write(folder.resolve("theirs"), type, shards);
    convert(folder.resolve("theirs"), "ours");
    exportHuggingFace(folder.resolve("ours"), "exported");

    try (WeightFiles before = WeightFiles.open(folder.resolve("theirs"));
        WeightFiles after = WeightFiles.open(folder.resolve("exported"))) {
      assertThat(after.tensors().keySet())
          .containsExactlyInAnyOrderElementsOf(before.tensors().keySet());
      before.tensors().forEach((name, tensor) -> assertSame(tensor, after.tensor(name), name));
    }
    JsonNode after = json(folder.resolve("exported/config.json"));
    assertThat(after).isEqualTo(family.config());
    convert(folder.resolve("exported"), "again");
    assertThat(folder.resolve("again/model.safetensors"))
        .hasSameBinaryContentAs(folder.resolve("ours/model.safetensors"));
    assertThat(folder.resolve("exported/generation_config.json"))
        .hasSameBinaryContentAs(folder.resolve("theirs/generation_config.json"));
  }

  @Test
  void huggingFace_shapeOfNoFamily_isRefused() {
    assertThatThrownBy(
            () -> exportHuggingFace(GoldenCase.named("qwen_block_norm").folder(), "exported"))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("no family of Hugging Face's has this shape");
  }

  @ParameterizedTest
  @MethodSource("org.eellm.golden.Stories#all")
  void convert_trainedModel_keepsFileAndConfiguration(Path stories) throws IOException {
    convert(stories, "model");
    exportHuggingFace(folder.resolve("model"), "exported");
    for (String name : new String[] {"model", "exported"}) {
      assertThat(folder.resolve(name).resolve("model.safetensors"))
          .hasSameBinaryContentAs(stories.resolve("model.safetensors"));
      assertThat(folder.resolve(name).resolve("tokenizer.json"))
          .hasSameBinaryContentAs(stories.resolve("tokenizer.json"));
      assertThat(json(folder.resolve(name).resolve("config.json")))
          .isEqualTo(json(stories.resolve("config.json")));
    }
  }

  @ParameterizedTest
  @CsvSource({"BF16,bfloat16", "F16,float16", "F64,float64"})
  void convert_toAnotherFormat_roundsAndSaysSo(SafetensorsType type, String name)
      throws IOException {
    Path golden = GoldenCase.named("llama_norm_tied").folder();
    try (SourceModel model = ModelReader.open(golden)) {
      ModelWriter.writeModel(
          model,
          folder.resolve("model"),
          new Options(Optional.of(type), Optional.empty()),
          (done, total) -> {});
    }
    assertThat(json(folder.resolve("model/config.json")).path("torch_dtype").asText())
        .isEqualTo(name);
    try (SafetensorsFile file = SafetensorsFile.open(folder.resolve("model/model.safetensors"))) {
      assertThat(file.tensors().values())
          .allSatisfy(tensor -> assertThat(tensor.type()).isEqualTo(type));
    }
  }

  @Test
  void convert_everyTensor_hasChecksumsOfBothSides() throws IOException {
    Outcome outcome = convert(Layouts.folder("megatron_tp2_pp2"), "model");
    JsonNode tensors = json(folder.resolve("model/conversion.json")).path("tensors");
    assertThat(tensors).hasSize(outcome.tensors().size());
    JsonNode merged = tensors.path("model.layers.0.mlp.gate_proj.weight");
    assertThat(merged.path("sha256").asText()).matches("[0-9a-f]{64}");
    assertThat(merged.path("origins").propertyStream().map(Map.Entry::getKey))
        .containsExactly(
            "mp_rank_00_000/model_optim_rng.pt:encoder.layers.0.mlp.trunk.dense_h_to_4h.weight",
            "mp_rank_01_000/model_optim_rng.pt:encoder.layers.0.mlp.trunk.dense_h_to_4h.weight");
    JsonNode copied = tensors.path("model.norm.weight");
    assertThat(copied.path("origins").elements().next().asText())
        .isEqualTo(copied.path("sha256").asText());
  }

  @Test
  void convert_cutOffThenAnotherSource_startsOver() throws IOException {
    Path first = GoldenCase.named("llama_norm_tied").folder();
    Path second = folder.resolve("second");
    copy(first, second);
    damage(
        second.resolve("model.safetensors"), Files.size(second.resolve("model.safetensors")) - 3);
    try (SourceModel model = ModelReader.open(first)) {
      assertThatThrownBy(
              () ->
                  ModelWriter.writeModel(
                      model,
                      folder.resolve("model"),
                      Options.asItIs(),
                      (done, total) -> {
                        if (done == total) {
                          throw new IllegalStateException("cut off");
                        }
                      }))
          .hasMessage("cut off");
    }
    convert(second, "model");
    assertSameTensors(
        second.resolve("model.safetensors"), folder.resolve("model/model.safetensors"));
  }

  @Test
  void convert_valuesThatAreNoNumbers_areCounted() throws IOException {
    Path golden = GoldenCase.named("llama_norm_tied").folder();
    Path copy = folder.resolve("copy");
    copy(golden, copy);
    try (FileChannel channel =
        FileChannel.open(copy.resolve("model.safetensors"), StandardOpenOption.WRITE)) {
      channel.write(
          ByteBuffer.wrap(new byte[] {0, 0, (byte) 0xc0, 0x7f, 0, 0, (byte) 0x80, 0x7f}),
          channel.size() - 8); // NaN, infinity
    }
    Outcome outcome = convert(copy, "model");
    assertThat(outcome.tensors())
        .filteredOn(tensor -> tensor.notFinite() > 0)
        .singleElement()
        .extracting(TensorRecord::notFinite)
        .isEqualTo(2L);
  }

  @Test
  void convert_outputThatExists_isRefused() throws IOException {
    Files.createDirectory(folder.resolve("model"));
    assertThatThrownBy(() -> convert(GoldenCase.named("llama_norm_tied").folder(), "model"))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("exists already");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      textBlock =
          """
          gpt2     | {'scale_attn_by_inverse_layer_idx':true} | scale_attn_by_inverse_layer_idx: true is not supported
          gpt2     | {'n_embd':1000000000} | model.hidden_size: 1000000000 makes an MLP of 4000000000; make it smaller
          gpt2     | {'activation_function':'relu'}           | activation_function: "relu" is not supported
          gpt2     | {'add_cross_attention':true}             | add_cross_attention: true is not supported
          gpt2     | {'n_head':5}                             | 5 does not divide hidden_size 32
          gpt2     | {'n_embd':16}                            | tensor wte.weight has shape [64, 32], but [64, 16] follows
          gpt2     | {'n_layer':3}                            | the weights lack h.2.ln_1.weight
          gpt2     | {'n_layer':1}                            | the weights have h.1.
          gpt_neox | {'rotary_pct':0.4}                       | rope rotates pairs; choose an even number
          gpt_neox | {'rope_scaling':{'type':'linear'}}       | rope_scaling: factor is missing
          gpt_neox | {'attention_bias':false}                 | attention_bias: false is not supported
          """)
  void convert_fieldThatCannotBeHonoured_isRefusedByName(
      String name, String changes, String message) throws IOException {
    Path copy = folder.resolve("copy");
    copy(Layouts.folder(name), copy);
    ObjectNode config = (ObjectNode) json(copy.resolve("config.json"));
    config.setAll((ObjectNode) JSON.readTree(changes.replace('\'', '"')));
    Files.writeString(copy.resolve("config.json"), config.toString());
    assertThatThrownBy(() -> ModelReader.open(copy).close())
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(message)
        .message()
        .doesNotContain("\n");
  }

  private static JsonNode json(Path path) throws IOException {
    return JSON.readTree(path.toFile());
  }

  private static void damage(Path file, long at) throws IOException {
    byte[] bytes = Files.readAllBytes(file);
    bytes[(int) at] ^= 1;
    Files.write(file, bytes);
  }

  static void copy(Path from, Path to) throws IOException {
    try (Stream<Path> files = Files.walk(from)) {
      for (Path file : files.toList()) {
        Path target = to.resolve(from.relativize(file).toString());
        if (Files.isDirectory(file)) {
          Files.createDirectories(target);
        } else {
          Files.copy(file, target);
        }
      }
    }
  }

  private static void assertSameTensors(Path expected, Path actual) {
    try (SafetensorsFile a = SafetensorsFile.open(expected);
        SafetensorsFile b = SafetensorsFile.open(actual)) {
      assertThat(b.tensors().keySet()).containsExactlyInAnyOrderElementsOf(a.tensors().keySet());
      a.tensors().forEach((name, tensor) -> assertSame(tensor, b.tensor(name), name));
    }
  }

  private static void assertSame(StoredTensor expected, StoredTensor actual, String name) {
    assertThat(ModelTensor.equalBytes(expected, actual)).as(name).isTrue();
  }
}
