package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Function;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.WeightFiles;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.huggingface.family.Families;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.Checksums;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.SafetensorsWriter;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.eellm.config.ConfigException;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.convert.ModelWriter.Outcome;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The models of {@code src/test/resources/families}, which make_families.py wrote. */
final class FamiliesTest {
  static final List<String> NAMES =
      List.of(
          "gemma2",
          "gemma3_text",
          "gemma3",
          "phi3",
          "phi4_mini",
          "smollm3",
          "granite",
          "olmo2",
          "olmo3",
          "mistral_window",
          "qwen2_window",
          "qwen3_window",
          "llama_bias",
          "qwen3_moe",
          "qwen3_moe_mixed",
          "olmoe");

  @TempDir private Path folder;

  static Path theirs(String name) {
    try {
      return Path.of(
          Objects.requireNonNull(FamiliesTest.class.getResource("/families/" + name)).toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  /** With heads that begin as the model's own modules, but MLPs beside experts. */
  static SourceModel withExits(SourceModel model, ExitLayout exits) {
    boolean routed = model.architecture().model().experts().count() > 0;
    return ExitEditor.add(
        model, exits, routed ? ExitEditor.Start.RANDOM : ExitEditor.Start.COPY, 1);
  }

  private Path write(SourceModel model, String to) {
    ModelWriter.writeModel(model, folder.resolve(to), Options.asItIs(), (done, total) -> {});
    return folder.resolve(to);
  }

  private Path write(Path from) {
    try (SourceModel model = ModelReader.open(from)) {
      return write(model, "ours");
    }
  }

  private Path export(Path from, String to) {
    try (SourceModel model = ModelReader.open(from)) {
      ModelWriter.writeHuggingFace(
          model, folder.resolve(to), Options.asItIs(), (done, total) -> {});
    }
    return folder.resolve(to);
  }

  @ParameterizedTest
  @FieldSource("NAMES")
  void convert_familyThereAndBack_keepsEveryByteAndField(String name) throws IOException {
    Path source = theirs(name);
    Path exported = export(write(source), "exported");

    assertSameText(source, exported);
    assertThat(config(exported)).isEqualTo(HuggingFaceConfig.fields(source).object());
    assertThat(HuggingFaceConfig.read(exported)).isEqualTo(HuggingFaceConfig.read(source));
  }

  @ParameterizedTest
  @FieldSource("NAMES")
  void addExits_anyFamily_writesThemBesideTheSourcesBytes(String name) throws IOException {
    Path source = theirs(name);
    ExitLayout exits = new ExitLayout(List.of(1, 2), true, true, true, false);
    Path ours;
    Map<String, String> parameters;
    try (SourceModel model = ModelReader.open(source)) {
      SourceModel with = withExits(model, exits);
      parameters = checksums(with.tensors());
      ours = write(with, "ours");
    }
    try (SourceModel model = ModelReader.open(ours)) {
      assertThat(model.architecture().exits()).isEqualTo(exits);
      assertThat(checksums(model.tensors())).isEqualTo(parameters);
    }
    Path exported = export(ours, "exported");
    assertSameText(source, exported);
    try (SourceModel model = ModelReader.open(exported)) {
      assertThat(checksums(model.tensors())).isEqualTo(parameters);
    }
  }

  /** As a training run writes them. */
  @ParameterizedTest
  @FieldSource("NAMES")
  void export_modelUnderOurNames_findsItsFamily(String name) throws IOException {
    Path source = theirs(name);
    Path ours;
    try (SourceModel model = ModelReader.open(source)) {
      ours =
          write(
              new SourceModel(
                  model.kind(),
                  model.folder(),
                  model.config(),
                  model.config().config(),
                  false,
                  model.tensors(),
                  List.of(),
                  Optional.empty()),
              "ours");
      assertThat(HuggingFaceConfig.read(ours).architecture()).isEqualTo(model.architecture());
    }
    Path exported = export(ours, "exported");

    if (name.equals("phi3")) { // which is a Mistral but for the names of its tensors
      assertThat(config(exported).path("model_type").asText()).isEqualTo("mistral");
    } else {
      assertSameText(source, exported);
      assertThat(config(exported).path("model_type"))
          .isEqualTo(HuggingFaceConfig.fields(source).object().path("model_type"));
    }
    assertThat(HuggingFaceConfig.read(exported).architecture())
        .isEqualTo(HuggingFaceConfig.read(source).architecture());
  }

  @ParameterizedTest
  @FieldSource("NAMES")
  void weightFiles_anyFamily_haveOurParameters(String name) {
    Map<String, String> opened = new TreeMap<>();
    try (WeightFiles weights = WeightFiles.open(theirs(name))) {
      weights
          .tensors()
          .forEach((parameter, stored) -> opened.put(parameter, Checksums.of(stored.bytes())));
    }
    try (SourceModel model = ModelReader.open(theirs(name))) {
      assertThat(opened).isEqualTo(checksums(model.tensors()));
    }
  }

  @Test
  void families_ofOwnNames_areWrittenWithTheirOwnModelType() {
    for (String name :
        List.of(
            "smollm3", "granite", "mistral_window", "qwen3_window", "qwen3_moe_mixed", "olmoe")) {
      HuggingFaceConfig config = HuggingFaceConfig.read(theirs(name));
      JsonFields written = new JsonFields(name, config.config());
      assertThat(Families.of(written).modelType())
          .isEqualTo(HuggingFaceConfig.fields(theirs(name)).text("model_type"));
    }
  }

  @Test
  void addExits_copiesOfExperts_areRefused() {
    try (SourceModel model = ModelReader.open(theirs("qwen3_moe_mixed"))) {
      for (boolean block : new boolean[] {false, true}) {
        ExitLayout exits = new ExitLayout(List.of(2), true, !block, block, false);
        assertThatThrownBy(() -> ExitEditor.add(model, exits, ExitEditor.Start.COPY, 1))
            .hasMessageContaining("cannot be a copy of a layer's experts; use --init random");
      }
      ExitLayout dense = new ExitLayout(List.of(3), true, true, false, false);
      SourceModel copied = ExitEditor.add(model, dense, ExitEditor.Start.COPY, 1);
      assertThat(copied.tensor("exits.3.mlp.up_proj.weight").sha256())
          .isEqualTo(copied.tensor("model.layers.2.mlp.up_proj.weight").sha256());
    }
  }

  @Test
  void convert_longRope_isForShortTextsUnlessItIsAsked() {
    Path source = theirs("phi4_mini");
    assertThat(HuggingFaceConfig.read(source).architecture().model().maxPositions()).isEqualTo(16);
    try (SourceModel model = ModelReader.open(source)) {
      Path ours = write(model.withMaxPositions(64), "ours");
      assertThat(HuggingFaceConfig.read(ours).architecture().model().maxPositions()).isEqualTo(64);
      assertThat(config(export(ours, "exported"))).isEqualTo(config(source));
    }
  }

  @Test
  void convert_windowThatSeesAll_isNone() {
    try (SourceModel model = ModelReader.open(theirs("mistral_window"))) {
      assertThat(model.architecture().model().attention(0).window()).isEqualTo(7);
      Path ours = write(model.withMaxPositions(7), "ours");
      ModelConfig read = HuggingFaceConfig.read(ours).architecture().model();
      assertThat(read.slidingWindow()).isZero();
      assertThat(read.attention(0).window()).isEqualTo(Integer.MAX_VALUE);
      assertThat(config(export(ours, "exported"))).isEqualTo(config(theirs("mistral_window")));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {-1, 0, 65})
  void withMaxPositions_whatTheModelWasNotMadeFor_isRefused(int positions) {
    try (SourceModel model = ModelReader.open(theirs("phi4_mini"))) {
      assertThatThrownBy(() -> model.withMaxPositions(positions))
          .isInstanceOf(ConfigException.class)
          .hasMessageContaining(
              "%d is outside 1..64, the texts that the model was made for", positions);
    }
  }

  /** GPT-2's queries, keys and values are columns of one tensor. */
  @Test
  void weightFiles_fusedTensorOfBytes_isRefused() throws IOException {
    Path ours = write(Layouts.folder("gpt2"));
    Path file = ours.resolve("model.safetensors");
    List<TensorSource> tensors = new ArrayList<>();
    try (SafetensorsFile opened = SafetensorsFile.open(file)) {
      opened
          .tensors()
          .forEach(
              (name, tensor) -> {
                byte[] bytes = tensor.bytes().toArray(ValueLayout.JAVA_BYTE);
                boolean fused = name.endsWith("attn.c_attn.weight");
                tensors.add(
                    TensorSource.of(
                        name,
                        fused ? SafetensorsType.I8 : tensor.type(),
                        tensor.shape(),
                        MemorySegment.ofArray(
                            fused ? Arrays.copyOf(bytes, bytes.length / Float.BYTES) : bytes)));
              });
    }
    Files.delete(file);
    SafetensorsWriter.write(file, Map.of(), tensors);
    assertThatThrownBy(() -> new ModelFolder(ours, Optional.empty()).trunkChecksum())
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("attn.c_attn.weight is I8; weights must be F64, F32, F16 or BF16");
  }

  @Test
  void withMaxPositions_learnedTable_isRefused() {
    try (SourceModel model = ModelReader.open(Layouts.folder("gpt2"))) {
      assertThatThrownBy(() -> model.withMaxPositions(8))
          .hasMessageContaining("the model has learned a table of 16 positions");
    }
  }

  /**
   * A model folder tells what it was made of as the files have it, in whatever part it is needed.
   */
  @ParameterizedTest
  @FieldSource("NAMES")
  void convert_anyFamily_recordsTheChecksumsOfItsTensors(String name) {
    try (SourceModel model = ModelReader.open(theirs(name));
        WeightFiles file = WeightFiles.openStored(theirs(name))) {
      SourceModel with = // so that parts have our names
          new SourceModel(
              model.kind(),
              model.folder(),
              model.config(),
              model.config().config(),
              false,
              model.tensors(),
              List.of(),
              Optional.empty());
      Outcome outcome =
          ModelWriter.writeModel(
              with, folder.resolve("ours"), Options.asItIs(), (done, total) -> {});
      assertOrigins(outcome, tensor -> file.tensor(tensor).bytes());
    }
  }

  static void assertOrigins(Outcome outcome, Function<String, MemorySegment> inFile) {
    assertThat(outcome.tensors()).isNotEmpty();
    for (TensorRecord record : outcome.tensors()) {
      assertThat(record.origins())
          .as(record.name())
          .allSatisfy(
              (tensor, sha256) -> assertThat(sha256).isEqualTo(Checksums.of(inFile.apply(tensor))));
    }
  }

  private static ObjectNode config(Path folder) {
    return (ObjectNode) JsonFiles.read(folder.resolve("config.json"));
  }

  private static Map<String, String> checksums(List<ModelTensor> tensors) {
    Map<String, String> sums = new TreeMap<>();
    tensors.forEach(tensor -> sums.put(tensor.name(), tensor.sha256()));
    return sums;
  }

  /** The same tensors but those of a tower that sees; the text model's under their plain names. */
  static void assertSameText(Path source, Path exported) {
    try (WeightFiles before = WeightFiles.openStored(source);
        SafetensorsFile after = SafetensorsFile.open(exported.resolve("model.safetensors"))) {
      Map<String, StoredTensor> expected = new TreeMap<>();
      before
          .tensors()
          .forEach((tensor, stored) -> expected.put(tensor.replace("language_model.", ""), stored));
      expected
          .keySet()
          .removeIf(tensor -> tensor.matches("(vision_tower|multi_modal_projector).*"));
      assertThat(after.tensors().keySet()).isEqualTo(expected.keySet());
      expected.forEach(
          (tensor, stored) ->
              assertThat(ModelTensor.equalBytes(stored, after.tensor(tensor))).as(tensor).isTrue());
    }
  }
}
