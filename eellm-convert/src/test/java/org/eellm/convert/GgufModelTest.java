package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Random;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.eellm.checkpoint.HuggingFaceFamily;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.RopeDivisors;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.config.RopeScaling;
import org.eellm.config.TrainConfig.Device;
import org.eellm.convert.GgufWriter.Quantization;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.decode.LoadedModel;
import org.eellm.gguf.GgufFixture;
import org.eellm.gguf.GgufRows;
import org.eellm.gguf.GgufType;
import org.eellm.gguf.QuantisedFixture;
import org.eellm.tensor.Tensors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Models read from GGUF files: our own exports, and files written from the format's description.
 */
final class GgufModelTest {
  @TempDir private Path folder;

  private Path export(Path model, Quantization quantization) throws IOException {
    Path tokenizer = Files.createDirectories(folder.resolve("pairs"));
    Files.writeString(
        tokenizer.resolve("vocab.json"), "{\"a\":0,\"b\":1,\"ab\":2,\"<|endoftext|>\":3}");
    Files.writeString(tokenizer.resolve("merges.txt"), "#version: 0.2\na b\n");
    Path file = folder.resolve("model.gguf");
    try (SourceModel source = ModelReader.open(model)) {
      GgufWriter.write(
          source,
          file,
          quantization,
          new Options(Optional.empty(), Optional.of(tokenizer)),
          (done, all) -> {});
    }
    return file;
  }

  private static Map<String, float[]> values(SourceModel model) throws IOException {
    Map<String, float[]> values = new LinkedHashMap<>();
    for (ModelTensor tensor : model.tensors()) {
      tensor.use(value -> values.put(tensor.name(), Tensors.toFloats(value)));
    }
    return values;
  }

  @ParameterizedTest
  @EnumSource
  void open_ownExport_isTheModelThatWasExported(HuggingFaceFamily family) throws IOException {
    for (SafetensorsType type : List.of(SafetensorsType.F32, SafetensorsType.BF16)) {
      Path theirs = folder.resolve(type.name());
      family.write(theirs, type, 1);
      boolean narrow = type == SafetensorsType.BF16;
      Path file = export(theirs, narrow ? Quantization.BF16 : Quantization.F32);
      try (SourceModel before = ModelReader.open(theirs);
          SourceModel after = ModelReader.open(file)) {
        Map<String, float[]> expected = values(before);
        Map<String, float[]> read = values(after);
        assertThat(read).containsOnlyKeys(expected.keySet());
        expected.forEach((name, own) -> assertThat(read.get(name)).as(name).isEqualTo(own));
        assertThat(after.architecture().model())
            .usingRecursiveComparison()
            .ignoringFields("attentionDropout", "initStd", "dtype")
            .isEqualTo(before.architecture().model());
        assertThat(after.architecture().model().dtype())
            .isEqualTo(narrow ? DataType.BFLOAT16 : DataType.FLOAT32);
        assertThat(after.config().bosTokenId()).isEqualTo(before.config().bosTokenId());
        assertThat(after.config().eosTokenIds().getFirst())
            .isEqualTo(before.config().eosTokenIds().getFirst());
        assertThat(after.kind()).startsWith("GGUF file, architecture ");
      }
      Files.delete(file);
    }
  }

  @Test
  void convert_ownExport_isTheFolderThatWasExported() throws IOException {
    HuggingFaceFamily.LLAMA_3_2.write(folder.resolve("theirs"), SafetensorsType.BF16, 1);
    Path file = export(folder.resolve("theirs"), Quantization.BF16);
    Path target = folder.resolve("converted");
    try (SourceModel model = ModelReader.open(file)) {
      ModelWriter.writeModel(model, target, Options.asItIs(), (done, all) -> {});
    }
    assertThat(target.resolve("tokenizer.json")).exists();
    assertThat(HuggingFaceConfig.read(target).architecture())
        .isEqualTo(HuggingFaceConfig.read(file).architecture());
    try (SourceModel model = ModelReader.open(target);
        SourceModel before = ModelReader.open(folder.resolve("theirs"))) {
      Map<String, float[]> read = values(model);
      values(before).forEach((name, own) -> assertThat(read.get(name)).as(name).isEqualTo(own));
    }
  }

  @Test
  void export_ofAnExport_isTheSameFile() throws IOException {
    HuggingFaceFamily.LLAMA_2.write(folder.resolve("theirs"), SafetensorsType.F32, 1);
    Path first = export(folder.resolve("theirs"), Quantization.Q8_0);
    Path second = Files.createDirectories(folder.resolve("again")).resolve("model.gguf");
    try (SourceModel model = ModelReader.open(first)) {
      GgufWriter.write(model, second, Quantization.F32, Options.asItIs(), (done, all) -> {});
    }
    try (SourceModel once = ModelReader.open(first);
        SourceModel twice = ModelReader.open(second)) {
      Map<String, float[]> read = values(twice);
      values(once).forEach((name, own) -> assertThat(read.get(name)).as(name).isEqualTo(own));
      for (ModelTensor tensor : once.tensors()) {
        if (tensor.origins().getFirst().stored().quantised().isPresent()) {
          assertThat(tensor.isCopy()).as(tensor.name()).isFalse();
        }
      }
    }
    assertThat(second.resolveSibling("tokenizer.json")).doesNotExist();
  }

  private Path withExits(ExitLayout exits, SafetensorsType type) throws IOException {
    Path theirs = folder.resolve("theirs");
    HuggingFaceFamily.LLAMA_2.write(theirs, type, 1);
    Path ours = folder.resolve("ours");
    try (SourceModel model = ModelReader.open(theirs)) {
      ModelWriter.writeModel(
          ExitEditor.add(model, exits, ExitEditor.Start.RANDOM, 1),
          ours,
          Options.asItIs(),
          (done, all) -> {});
    }
    return ours;
  }

  @ParameterizedTest
  @CsvSource({"F32, F32, true", "BF16, BF16, false"})
  void open_ownExportWithExits_hasThemBitForBit(
      SafetensorsType type, Quantization quantization, boolean tied) throws IOException {
    ExitLayout exits = new ExitLayout(List.of(1, 3), true, true, true, tied);
    Path ours = withExits(exits, type);
    Path file = export(ours, quantization);
    assertThat(folder.resolve("model.exits.gguf")).exists();
    Path back = folder.resolve("back");
    try (SourceModel before = ModelReader.open(ours);
        SourceModel after = ModelReader.open(file)) {
      assertThat(after.architecture().exits()).isEqualTo(exits);
      Map<String, float[]> expected = values(before);
      Map<String, float[]> read = values(after);
      assertThat(read).containsOnlyKeys(expected.keySet());
      expected.forEach((name, own) -> assertThat(read.get(name)).as(name).isEqualTo(own));
      Options typed = new Options(Optional.of(type), Optional.empty());
      ModelWriter.writeModel(after, back, typed, (done, all) -> {});
    }
    assertThat(folder.resolve("back/model.safetensors"))
        .hasSameBinaryContentAs(folder.resolve("ours/model.safetensors"));
  }

  @Test
  void open_quantisedExits_areTheFilesOwnGroups() throws IOException {
    ExitLayout exits = new ExitLayout(List.of(2), true, true, false, false);
    Path file = export(withExits(exits, SafetensorsType.F32), Quantization.Q8_0);
    try (SourceModel model = ModelReader.open(file)) {
      for (String name : List.of("exits.2.lm_head.weight", "exits.2.mlp.up_proj.weight")) {
        StoredTensor stored = model.tensor(name).origins().getFirst().stored();
        assertThat(stored.quantised().map(GgufRows::type)).contains(GgufType.Q8_0);
      }
    }
    try (LoadedModel model = LoadedModel.load(file, Device.CPU)) {
      assertThat(model.decoder().architecture().exits()).isEqualTo(exits);
    }
  }

  @Test
  void write_besideExitsOfAnotherModel_isRefused() throws IOException {
    Path theirs = folder.resolve("theirs");
    HuggingFaceFamily.LLAMA_2.write(theirs, SafetensorsType.F32, 1);
    Path old = Files.writeString(folder.resolve("model.exits.gguf"), "GGUF");
    assertThatThrownBy(() -> export(theirs, Quantization.F32))
        .isInstanceOf(CheckpointException.class)
        .hasMessage(old + ": exists already; remove it or name another");
    assertThat(folder.resolve("model.gguf")).doesNotExist();
  }

  @Test
  void open_besideAnotherFile_isRefusedByTheFilesName() throws IOException {
    ExitLayout exits = new ExitLayout(List.of(2), true, false, false, true);
    Path file = export(withExits(exits, SafetensorsType.F32), Quantization.F32);
    Path beside = folder.resolve("model.exits.gguf");
    byte[] whole = Files.readAllBytes(beside);
    Files.copy(file, beside, StandardCopyOption.REPLACE_EXISTING);
    assertThatThrownBy(() -> ModelReader.open(file))
        .isInstanceOf(CheckpointException.class)
        .hasMessage(
            beside
                + ": general.architecture: llama is not eellm-exits; rename the file, or remove"
                + " it");
    Files.write(beside, Arrays.copyOf(whole, whole.length - 40));
    assertThatThrownBy(() -> ModelReader.open(file))
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(beside + ": tensor exits.2.norm.weight of 128 bytes")
        .hasMessageEndingWith("the file is truncated");
    new GgufFixture()
        .text("general.architecture", "eellm-exits")
        .numbers("exits.layers", List.of(9))
        .write(beside);
    assertThatThrownBy(() -> ModelReader.open(file))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("exits.layers: 9 is beyond the model's 4 layers");
  }

  // Files from the format's description

  private static final int HIDDEN = 256;
  private static final int WIDTH = 64;
  private static final int KEYS = 2 * WIDTH;
  private static final int VOCABULARY = 40;

  private static GgufFixture header() {
    return new GgufFixture()
        .text("general.architecture", "llama")
        .number("llama.context_length", 128)
        .number("llama.embedding_length", HIDDEN)
        .number("llama.block_count", 1)
        .number("llama.feed_forward_length", 512)
        .number("llama.attention.head_count", 4)
        .number("llama.attention.head_count_kv", 2)
        .real("llama.attention.layer_norm_rms_epsilon", 1e-6f)
        .number("tokenizer.ggml.bos_token_id", 1)
        .number("tokenizer.ggml.eos_token_id", 2)
        .number("tokenizer.ggml.eot_token_id", 3);
  }

  private static final Map<String, List<Long>> MATRICES = new LinkedHashMap<>();

  static {
    MATRICES.put("token_embd.weight", List.of(256L, (long) VOCABULARY));
    MATRICES.put("blk.0.attn_q.weight", List.of(256L, 256L));
    MATRICES.put("blk.0.attn_k.weight", List.of(256L, (long) KEYS));
    MATRICES.put("blk.0.attn_v.weight", List.of(256L, (long) KEYS));
    MATRICES.put("blk.0.attn_output.weight", List.of(256L, 256L));
    MATRICES.put("blk.0.ffn_gate.weight", List.of(256L, 512L));
    MATRICES.put("blk.0.ffn_up.weight", List.of(256L, 512L));
    MATRICES.put("blk.0.ffn_down.weight", List.of(512L, 256L));
  }

  private static void norms(GgufFixture file) {
    for (String name : List.of("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm")) {
      file.floats(name + ".weight", 256L);
    }
  }

  private static QuantisedFixture draw(GgufType type, int count, Random random) {
    if (type.quantised()) {
      return QuantisedFixture.of(type, count / type.group(), random);
    }
    ByteBuffer bytes =
        ByteBuffer.allocate((int) type.rowBytes(count)).order(ByteOrder.LITTLE_ENDIAN);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      float value = random.nextInt(-128, 128) / 256f; // exact in all formats
      values[i] = value;
      switch (type) {
        case F32 -> bytes.putFloat(value);
        case F16 -> bytes.putShort(Float.floatToFloat16(value));
        default -> bytes.putShort((short) (Float.floatToIntBits(value) >> 16));
      }
    }
    return new QuantisedFixture(bytes.array(), values);
  }

  private static int number(GgufType type) {
    return switch (type) {
      case F32 -> 0;
      case F16 -> 1;
      case Q4_0 -> 2;
      case Q4_1 -> 3;
      case Q5_0 -> 6;
      case Q5_1 -> 7;
      case Q8_0 -> 8;
      case Q4_K -> 12;
      case Q5_K -> 13;
      case Q6_K -> 14;
      case BF16 -> 30;
    };
  }

  /** A file of one format, and what its tensors hold. */
  private Map<String, QuantisedFixture> write(GgufType type, Path path) throws IOException {
    Random random = new Random(11);
    GgufFixture file = header();
    Map<String, QuantisedFixture> drawn = new LinkedHashMap<>();
    MATRICES.forEach(
        (name, dimensions) -> {
          int count = Math.toIntExact(dimensions.get(0) * dimensions.get(1));
          QuantisedFixture own = draw(type, count, random);
          drawn.put(name, own);
          file.tensor(name, dimensions, number(type), own.bytes());
        });
    norms(file);
    file.write(path);
    return drawn;
  }

  @ParameterizedTest
  @EnumSource
  void open_everyFormat_hasTheNumbersInOurOrder(GgufType type) throws IOException {
    Path path = folder.resolve("model.gguf");
    Map<String, QuantisedFixture> drawn = write(type, path);
    try (SourceModel model = ModelReader.open(path)) {
      Map<String, float[]> read = values(model);
      assertThat(read.get("model.embed_tokens.weight")).isEqualTo(stored(drawn, "token_embd"));
      assertThat(read.get("model.layers.0.mlp.down_proj.weight"))
          .isEqualTo(stored(drawn, "blk.0.ffn_down"));
      assertThat(read.get("model.layers.0.self_attn.v_proj.weight"))
          .isEqualTo(stored(drawn, "blk.0.attn_v"));
      // llama.cpp rotates neighbouring rows, we rows j and j + half a head.
      float[] ours = Objects.requireNonNull(read.get("model.layers.0.self_attn.k_proj.weight"));
      float[] theirs = stored(drawn, "blk.0.attn_k");
      for (int head = 0; head < 2; head++) {
        for (int pair = 0; pair < WIDTH / 2; pair++) {
          for (int part = 0; part < 2; part++) {
            int to = (head * WIDTH + part * WIDTH / 2 + pair) * HIDDEN;
            int from = (head * WIDTH + 2 * pair + part) * HIDDEN;
            assertThat(Arrays.copyOfRange(ours, to, to + HIDDEN))
                .isEqualTo(Arrays.copyOfRange(theirs, from, from + HIDDEN));
          }
        }
      }
      ModelConfig shape = model.architecture().model();
      assertThat(shape.vocabSize()).isEqualTo(VOCABULARY);
      assertThat(shape.tieEmbeddings()).isTrue();
      assertThat(shape.dtype())
          .isEqualTo(type == GgufType.BF16 ? DataType.BFLOAT16 : DataType.FLOAT32);
      assertThat(model.config().bosTokenId()).hasValue(1);
      assertThat(model.config().eosTokenIds()).containsExactly(2, 3);
    }
  }

  private static float[] stored(Map<String, QuantisedFixture> drawn, String name) {
    return Objects.requireNonNull(drawn.get(name + ".weight")).values();
  }

  @ParameterizedTest
  @EnumSource(names = {"Q8_0", "Q4_0"})
  void quantised_rows_areTheFilesGroups(GgufType type) throws IOException {
    Path path = folder.resolve("model.gguf");
    byte[] theirs = Objects.requireNonNull(write(type, path).get("blk.0.attn_q.weight")).bytes();
    try (SourceModel model = ModelReader.open(path)) {
      StoredTensor query =
          model.tensor("model.layers.0.self_attn.q_proj.weight").origins().getFirst().stored();
      GgufRows rows = query.quantised().orElseThrow();
      assertThat(rows.type()).isEqualTo(type);
      assertThat(rows.rows()).isEqualTo(256);
      int rowBytes = 256 / 32 * type.groupBytes();
      assertThat(rows.row(WIDTH / 2).toArray(ValueLayout.JAVA_BYTE)) // of the first pair
          .containsExactly(Arrays.copyOfRange(theirs, rowBytes, 2 * rowBytes));
      StoredTensor norm = model.tensor("model.norm.weight").origins().getFirst().stored();
      assertThat(norm.quantised()).isEmpty();
    }
  }

  @Test
  void open_outputThatIsTheEmbedding_isTied() throws IOException {
    Random random = new Random(3);
    byte[] embedding = draw(GgufType.Q8_0, 256 * VOCABULARY, random).bytes();
    for (boolean equal : new boolean[] {true, false}) {
      GgufFixture file = header();
      MATRICES.forEach(
          (name, dimensions) -> {
            int count = Math.toIntExact(dimensions.get(0) * dimensions.get(1));
            byte[] own =
                name.startsWith("token") ? embedding : draw(GgufType.Q8_0, count, random).bytes();
            file.tensor(name, dimensions, 8, own);
          });
      norms(file);
      byte[] output = equal ? embedding : draw(GgufType.Q8_0, 256 * VOCABULARY, random).bytes();
      file.tensor("output.weight", List.of(256L, (long) VOCABULARY), 8, output);
      try (SourceModel model = ModelReader.open(file.write(folder.resolve("m.gguf")))) {
        assertThat(model.architecture().model().tieEmbeddings()).isEqualTo(equal);
        assertThat(
                model.tensors().stream().map(ModelTensor::name).anyMatch("lm_head.weight"::equals))
            .isEqualTo(!equal);
      }
    }
  }

  private static Arguments refused(Consumer<GgufFixture> change, String message) {
    return arguments(message, change);
  }

  static Stream<Arguments> refusals() {
    return Stream.of(
        refused(f -> f.number("llama.expert_count", 8), "llama.expert_count: 8 is not supported"),
        refused(
            f -> f.number("llama.attention.sliding_window", 64),
            "llama.attention.sliding_window: 64 is not supported"),
        refused(
            f -> f.text("llama.rope.scaling.type", "dynamic"),
            "llama.rope.scaling.type: dynamic is not supported; none, linear, yarn and longrope"
                + " are"),
        refused(
            f -> f.number("llama.rope.dimension_count", 32),
            "llama.rope.dimension_count: 32 is not supported"),
        refused(
            f -> f.number("llama.attention.value_length", 32),
            "llama.attention.value_length: 32 is not supported"),
        refused(
            f -> f.real("llama.final_logit_softcapping", 30),
            "llama.final_logit_softcapping: 30.0 is not supported"),
        refused(f -> f.real("llama.logit_scale", 0.5f), "llama.logit_scale: 0.5 is not supported"),
        refused(
            f -> f.real("llama.attention.scale", 0.5f),
            "llama.attention.scale: 0.5 is not supported"),
        refused(
            f -> f.flag("llama.attention.causal", false),
            "llama.attention.causal: false is not supported"),
        refused(f -> f.number("split.count", 3), "split.count: 3 files are one model; join them"),
        refused(f -> f.floats("rope_freqs.weight", 32L), "divisors of frequencies are not"),
        refused(f -> f.floats("rope_freqs.weight", 16L), "but [32] in F32 follows"),
        refused(f -> f.floats("blk.0.attn_q.bias", 256L), "have blk.0.attn_q.bias"),
        refused(f -> f.floats("blk.1.ffn_gate.weight", 8L), "have blk.1.ffn_gate.weight"),
        refused(
            f -> f.floats("output.weight", 256L, 41L),
            "tensor output.weight has shape [41, 256], but [40, 256] follows"));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("refusals")
  void open_whatCannotBeHonoured_isRefusedByName(String message, Consumer<GgufFixture> change)
      throws IOException {
    GgufFixture file = header();
    MATRICES.forEach((name, dimensions) -> file.floats(name, dimensions.toArray(Long[]::new)));
    norms(file);
    change.accept(file);
    Path path = file.write(folder.resolve("model.gguf"));
    assertRefused(path, message);
  }

  private static void assertRefused(Path path, String message) {
    assertThatThrownBy(() -> ModelReader.open(path))
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(path + ": ")
        .hasMessageContaining(message)
        .message()
        .hasLineCount(1);
    assertThatThrownBy(() -> HuggingFaceConfig.read(path)).isInstanceOf(CheckpointException.class);
  }

  @ParameterizedTest
  @CsvSource({
    "general.architecture, general.architecture is missing",
    "llama.block_count, llama.block_count is missing",
    "llama.attention.layer_norm_rms_epsilon, layer_norm_rms_epsilon is missing",
  })
  void open_missingKey_isNamed(String key, String message) throws IOException {
    GgufFixture file = new GgufFixture();
    List<Map.Entry<String, Consumer<GgufFixture>>> keys = new ArrayList<>();
    keys.add(Map.entry("general.architecture", f -> f.text("general.architecture", "llama")));
    keys.add(Map.entry("llama.block_count", f -> f.number("llama.block_count", 1)));
    keys.stream()
        .filter(entry -> !entry.getKey().equals(key))
        .forEach(entry -> entry.getValue().accept(file));
    file.number("llama.embedding_length", 256)
        .number("llama.attention.head_count", 4)
        .number("llama.feed_forward_length", 512)
        .number("llama.context_length", 128)
        .floats("token_embd.weight", 256L, 8L);
    assertRefused(file.write(folder.resolve("model.gguf")), message);
  }

  @Test
  void open_shapesThatDoNotFit_areRefused() throws IOException {
    GgufFixture unknown = new GgufFixture().text("general.architecture", "mamba");
    assertRefused(
        unknown.write(folder.resolve("a.gguf")), "general.architecture: mamba is not supported");
    GgufFixture deep = header().number("more", 1).floats("token_embd.weight", 256L, 8L);
    assertRefused(deep.write(folder.resolve("b.gguf")), "the weights lack blk.0.attn_norm.weight");
    GgufFixture none = header();
    assertRefused(none.write(folder.resolve("c.gguf")), "has no token_embd.weight");
    GgufFixture vector = header();
    MATRICES.forEach((name, dimensions) -> vector.floats(name, dimensions.toArray(Long[]::new)));
    vector.tensor(
        "output_norm.weight",
        List.of(256L),
        8,
        QuantisedFixture.of(GgufType.Q8_0, 8, new Random(1)).bytes());
    vector.floats("blk.0.attn_norm.weight", 256L).floats("blk.0.ffn_norm.weight", 256L);
    assertRefused(vector.write(folder.resolve("d.gguf")), "is a vector in Q8_0");
  }

  @ParameterizedTest
  @CsvSource({"8,1,4,8192,500000,64", "32,1,4,8192,500000,32", "4,2,7,300,10000,64"})
  void ropeDivisors_ofLlama3_tellTheScaling(
      double factor, double low, double high, int original, double theta, int pairs) {
    RopeScaling.Llama3 scaling = new RopeScaling.Llama3(factor, low, high, original);
    float[] divisors = RopeDivisors.of(scaling, theta, pairs);
    RopeScaling.Llama3 told =
        (RopeScaling.Llama3) RopeDivisors.scaling(divisors, theta, 8192).orElseThrow();
    assertThat(RopeDivisors.of(told, theta, pairs))
        .usingComparatorWithPrecision(1e-5f)
        .containsExactly(divisors);
    if (low == 1 && high == 4) {
      assertThat(told).isEqualTo(scaling);
    }
    divisors[pairs - 1] *= 0.9f;
    assertThat(RopeDivisors.scaling(divisors, theta, 8192)).isEmpty();
  }
}
