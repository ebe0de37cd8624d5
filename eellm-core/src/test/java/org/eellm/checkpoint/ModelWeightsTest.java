package org.eellm.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.SequencedMap;
import java.util.stream.Stream;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.SavedModel;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.SafetensorsWriter;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.model.Decoder;
import org.eellm.model.parameter.Parameter;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class ModelWeightsTest {
  private static final Path GOLDEN = Path.of("eellm-core/src/test/resources/golden");

  /** RMSNorm, RoPE, SwiGLU; exits after layers 2 and 3; all output matrices tied. */
  private static final Path TIED = GOLDEN.resolve("llama_norm_tied");

  private static final String EMBEDDING = "model.embed_tokens.weight";
  private static final String NORM = "model.norm.weight";

  @TempDir Path folder;

  @ParameterizedTest
  @ValueSource(
      strings = {
        "gpt_norm_tied",
        "llama_block_norm",
        "llama_embedding",
        "llama_last_stage_exit",
        "llama_mlp_norm",
        "llama_norm_tied"
      })
  void save_loadedGoldenCase_givesTheSameModel(String name) throws IOException {
    Path golden = GOLDEN.resolve(name);
    HuggingFaceConfig config = HuggingFaceConfig.read(golden);
    try (Decoder model = SavedModel.readWeights(golden, config.architecture(), Torch.cpu())) {
      config.write(folder);
      SavedModel.writeWeights(folder, model);
    }
    assertThat(HuggingFaceConfig.read(folder)).isEqualTo(config);
    assertThat(stored(folder)).isEqualTo(stored(golden));
  }

  @ParameterizedTest
  @MethodSource("org.eellm.golden.Stories#all")
  void load_trainedModel_fillsEveryParameter(Path stories) {
    Architecture architecture = HuggingFaceConfig.read(stories).architecture();
    try (Decoder model = SavedModel.readWeights(stories, architecture, Torch.cpu())) {
      assertThat(values(model)).isEqualTo(stored(stories));
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32", "F16", "BF16"})
  void load_anyFloatingPointFormat_convertsIt(SafetensorsType type) {
    SequencedMap<String, TensorSource> tensors = tensors();
    tensors.replaceAll((name, tensor) -> eighths(name, type, tensor.shape()));
    write(tensors);
    for (DataType dtype : DataType.values()) {
      try (Decoder model = SavedModel.readWeights(folder, architecture(dtype), Torch.cpu())) {
        assertThat(values(model).get(NORM))
            .startsWith(0f, 0.125f, 0.25f, 0.375f)
            .endsWith(0.75f, 0.875f)
            .hasSize(64);
      }
    }
  }

  @Test
  void load_float32IntoBfloat16_roundsToNearestEven() {
    SequencedMap<String, TensorSource> tensors = tensors();
    ByteBuffer norm = ByteBuffer.allocate(256).order(ByteOrder.LITTLE_ENDIAN);
    norm.putInt(0x3f808000).putInt(0x3f818000).putInt(0x3f808001);
    tensors.put(
        NORM,
        TensorSource.of(
            NORM, SafetensorsType.F32, List.of(64L), MemorySegment.ofArray(norm.array())));
    write(tensors);
    try (Decoder model =
        SavedModel.readWeights(folder, architecture(DataType.BFLOAT16), Torch.cpu())) {
      assertThat(values(model).get(NORM))
          .startsWith(
              Float.intBitsToFloat(0x3f800000),
              Float.intBitsToFloat(0x3f820000),
              Float.intBitsToFloat(0x3f810000));
    }
  }

  @Test
  void load_tensorAtAnOddAddress_readsItAll() throws IOException {
    SequencedMap<String, TensorSource> tensors = tensors();
    write(tensors);
    Path file = folder.resolve("model.safetensors");
    ByteBuffer content = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    long headerSize = content.getLong(0);
    ByteBuffer shifted =
        ByteBuffer.allocate(content.capacity() + 1)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putLong(headerSize + 1)
            .put(content.slice(8, (int) headerSize))
            .put((byte) ' ')
            .put(content.slice(8 + (int) headerSize, content.capacity() - 8 - (int) headerSize));
    Files.write(file, shifted.array());
    try (Decoder model =
        SavedModel.readWeights(folder, architecture(DataType.FLOAT32), Torch.cpu())) {
      assertThat(values(model)).isEqualTo(stored(TIED));
    }
  }

  @Test
  void load_missingTensor_isRefusedByName() {
    SequencedMap<String, TensorSource> tensors = tensors();
    tensors.remove(NORM);
    assertRefused(tensors, ": the weights lack model.norm.weight; ");
    tensors.keySet().removeIf(name -> name.startsWith("exits.") || name.contains("mlp"));
    assertRefused(
        tensors, "lack exits.2.norm.weight, exits.3.norm.weight, model.layers.0.mlp.down_proj");
    assertRefused(tensors, " and 12 more;");
  }

  @Test
  void load_surplusTensor_isRefusedByName() {
    SequencedMap<String, TensorSource> tensors = tensors();
    add(tensors, "exits.1.norm.weight", SafetensorsType.F32, 64);
    assertRefused(tensors, "have, beyond the configuration's model, exits.1.norm.weight; ");
  }

  @Test
  void load_rotaryTablesOfOldExports_areLeftAside() throws IOException {
    HuggingFaceConfig.read(TIED).write(folder);
    SequencedMap<String, TensorSource> tensors = tensors();
    add(tensors, "model.layers.0.self_attn.rotary_emb.inv_freq", SafetensorsType.F32, 4);
    write(tensors);
    SavedModel.readWeights(folder, architecture(DataType.FLOAT32), Torch.cpu()).close();
  }

  @Test
  void load_wrongShape_isRefusedByName() {
    SequencedMap<String, TensorSource> tensors = tensors();
    add(tensors, NORM, SafetensorsType.F32, 65);
    assertRefused(tensors, ": tensor model.norm.weight has shape [65], the model [64]; ");
  }

  @Test
  void load_wholeNumbers_areRefusedByName() {
    SequencedMap<String, TensorSource> tensors = tensors();
    add(tensors, NORM, SafetensorsType.I8, 64);
    assertRefused(tensors, ": tensor model.norm.weight is I8; weights must be F64, F32, F16 or");
  }

  @ParameterizedTest
  @ValueSource(strings = {"lm_head.weight", "exits.2.lm_head.weight"})
  void load_tiedMatrixStoredToo_mustEqualTheEmbedding(String name) throws IOException {
    HuggingFaceConfig.read(TIED).write(folder);
    SequencedMap<String, TensorSource> tensors = tensors();
    TensorSource embedding = Objects.requireNonNull(tensors.get(EMBEDDING));
    tensors.put(
        name, new TensorSource(name, embedding.type(), embedding.shape(), embedding.content()));
    write(tensors);
    SavedModel.readWeights(folder, architecture(DataType.FLOAT32), Torch.cpu()).close();

    tensors.put(name, eighths(name, SafetensorsType.F32, embedding.shape()));
    assertRefused(tensors, name);
  }

  @Test
  void save_bfloat16Model_halvesTheFile() throws IOException {
    try (Decoder model =
        SavedModel.readWeights(TIED, architecture(DataType.BFLOAT16), Torch.cpu())) {
      SavedModel.writeWeights(folder, model);
      try (WeightFiles weights = WeightFiles.open(folder)) {
        assertThat(weights.tensors().values())
            .allMatch(tensor -> tensor.type() == SafetensorsType.BF16);
      }
      Map<String, List<Float>> before = values(model);
      ModelWeights.load(folder, model);
      assertThat(values(model)).isEqualTo(before);
    }
  }

  @ParameterizedTest
  @EnumSource
  void optimizer_anyComputeFormat_isReadBackBitForBit(DataType dtype) throws IOException {
    try (Scope _ = Scope.open();
        Decoder model = SavedModel.readWeights(TIED, architecture(dtype), Torch.cpu())) {
      List<FlatStateShard> written = state(model);
      written.forEach(piece -> piece.values().uniform_());
      TrainingFiles.optimizer(model, written, 0, 1).write(folder);

      List<FlatStateShard> read = state(model);
      TrainingFiles.readOptimizer(folder, model, read);
      for (int i = 0; i < written.size(); i++) {
        assertThat(Tensors.toFloats(read.get(i).values()))
            .isEqualTo(Tensors.toFloats(written.get(i).values()));
      }

      Path file = folder.resolve("training/optimizer.safetensors");
      try (SafetensorsFile tensors = SafetensorsFile.open(file)) {
        assertThat(tensors.tensors().keySet())
            .contains("master." + NORM, "exp_avg." + NORM, "exp_avg_sq.exits.2.norm.weight");
      }
    }
  }

  @Test
  void readOptimizer_ofAnotherModel_isRefused() throws IOException {
    try (Scope _ = Scope.open();
        Decoder model = SavedModel.readWeights(TIED, architecture(DataType.FLOAT32), Torch.cpu());
        Decoder other =
            Decoder.allocate(
                HuggingFaceConfig.read(GOLDEN.resolve("llama_embedding")).architecture(),
                Torch.cpu())) {
      assertThatThrownBy(() -> TrainingFiles.readOptimizer(folder, model, state(model)))
          .isInstanceOf(CheckpointException.class)
          .hasMessageContaining("optimizer.safetensors: is missing; only a whole checkpoint of a");
      TrainingFiles.optimizer(other, state(other), 0, 1).write(folder);
      assertThatThrownBy(() -> TrainingFiles.readOptimizer(folder, model, state(model)))
          .isInstanceOf(CheckpointException.class)
          .hasMessageContaining("the checkpoint is of another run");
    }
  }

  private void assertRefused(SequencedMap<String, TensorSource> tensors, String message) {
    write(tensors);
    assertThatThrownBy(
            () ->
                SavedModel.readWeights(folder, architecture(DataType.FLOAT32), Torch.cpu()).close())
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(folder + ": ")
        .hasMessageContaining(message)
        .message()
        .doesNotContain("\n");
  }

  private static Architecture architecture(DataType dtype) {
    Architecture architecture = HuggingFaceConfig.read(TIED).architecture();
    return new Architecture(architecture.model().withDtype(dtype), architecture.exits());
  }

  /** An optimizer's state, in one piece a buffer. */
  private static List<FlatStateShard> state(Decoder model) {
    long count = model.parameters().flat().numel();
    return Stream.of("master", "exp_avg", "exp_avg_sq")
        .map(
            name ->
                new FlatStateShard(name, 0, Tensors.zeros(ScalarType.Float, Torch.cpu(), count)))
        .toList();
  }

  /** The tensors of {@link #TIED}, to be changed. */
  private static SequencedMap<String, TensorSource> tensors() {
    SequencedMap<String, TensorSource> tensors = new LinkedHashMap<>();
    try (WeightFiles weights = WeightFiles.open(TIED)) {
      weights
          .tensors()
          .forEach(
              (name, tensor) ->
                  tensors.put(
                      name,
                      TensorSource.of(
                          name,
                          tensor.type(),
                          tensor.shape(),
                          MemorySegment.ofArray(tensor.bytes().toArray(ValueLayout.JAVA_BYTE)))));
    }
    return tensors;
  }

  private static void add(
      Map<String, TensorSource> tensors, String name, SafetensorsType type, long length) {
    tensors.put(name, eighths(name, type, List.of(length)));
  }

  /** Values 0, 1/8 .. 7/8, 0 and so on, which every floating-point format has exactly. */
  private static TensorSource eighths(String name, SafetensorsType type, List<Long> shape) {
    int count = Math.toIntExact(shape.stream().reduce(1L, Math::multiplyExact));
    ByteBuffer bytes = ByteBuffer.allocate(count * type.bits() / 8).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; i++) {
      float value = i % 8 / 8f;
      switch (type) {
        case F64 -> bytes.putDouble(value);
        case F32 -> bytes.putFloat(value);
        case F16 -> bytes.putShort(Float.floatToFloat16(value));
        case BF16 -> bytes.putShort((short) (Float.floatToIntBits(value) >>> 16));
        default -> bytes.put((byte) i);
      }
    }
    return TensorSource.of(name, type, shape, MemorySegment.ofArray(bytes.array()));
  }

  private void write(SequencedMap<String, TensorSource> tensors) {
    try {
      Files.deleteIfExists(folder.resolve("model.safetensors"));
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
    SafetensorsWriter.write(
        folder.resolve("model.safetensors"), Map.of(), List.copyOf(tensors.values()));
  }

  /** The float32 tensors of a folder. */
  private static Map<String, List<Float>> stored(Path folder) {
    try (WeightFiles weights = WeightFiles.open(folder)) {
      Map<String, List<Float>> values = new HashMap<>();
      weights
          .tensors()
          .forEach(
              (name, tensor) ->
                  values.put(name, list(tensor.bytes().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED))));
      return values;
    }
  }

  private static Map<String, List<Float>> values(Decoder model) {
    Map<String, List<Float>> values = new HashMap<>();
    for (Parameter parameter : model.parameters().all()) {
      values.put(parameter.name(), list(Tensors.toFloats(parameter.value())));
    }
    return values;
  }

  private static List<Float> list(float[] values) {
    List<Float> list = new ArrayList<>(values.length);
    for (float value : values) {
      list.add(value);
    }
    return list;
  }
}
