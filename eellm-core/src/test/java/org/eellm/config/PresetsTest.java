package org.eellm.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.eellm.config.TuneConfig.Lora;
import org.eellm.config.TuneConfig.Target;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

final class PresetsTest {
  private static final String CHAT = "tune-chat";
  private static final String DRAFT_HEAD = "tune-draft-head";

  private static List<Path> presets() throws IOException {
    try (Stream<Path> files = Files.list(Path.of("configs"))) {
      return files
          .filter(file -> !file.endsWith(CHAT + ".yaml"))
          .filter(file -> !file.endsWith(DRAFT_HEAD + ".yaml"))
          .sorted()
          .toList();
    }
  }

  /** It has no model of its own: what is tuned brings it. */
  @Test
  void preset_ofChats_tunesTheExitsOfAnyModel() {
    Architecture model = ConfigFile.preset("30m", List.of()).architecture();
    TuneConfig tune = new TuneConfig(Optional.of("m"), Optional.empty(), Target.TEXT, Lora.none());

    RunConfig config =
        ConfigFile.readTuning(
            ConfigFile.Text.ofPreset(CHAT),
            List.of("data.sources=[chats]", "data.tokenizer=m", "data.sequence_length=128"),
            tune,
            model);

    assertThat(config.architecture()).isEqualTo(model);
    assertThat(config.tune().learning()).isEqualTo(Learning.EXITS_FROM_FINAL_HEAD);
    assertThat(config.data().attendAcrossDocuments()).isFalse();
  }

  /** What add-exits makes, as the files say how. */
  @Test
  void presets_ofExitsToTune_tieThoseOfLargeVocabularies() throws IOException {
    List<Path> tuned =
        presets().stream()
            .filter(file -> file.getFileName().toString().startsWith("tune-"))
            .toList();
    assertThat(tuned)
        .hasSize(4)
        .allSatisfy(
            file -> {
              Architecture model = ConfigFile.read(file, List.of()).architecture();
              assertThat(model.exits().tieOutput()).isEqualTo(model.model().vocabSize() > 65_536);
            });
  }

  @Test
  void preset_ofADraftHead_trainsOneForAnyModel() {
    Architecture model = ConfigFile.preset("30m", List.of()).architecture();
    TuneConfig tune = new TuneConfig(Optional.of("m"), Optional.empty(), Target.TEXT, Lora.none());

    RunConfig config =
        ConfigFile.readTuning(
            ConfigFile.Text.ofPreset(DRAFT_HEAD),
            List.of("data.sources=[text]", "data.tokenizer=m"),
            tune,
            model);

    assertThat(config.tune().learning()).isEqualTo(Learning.DRAFT_HEAD);
  }

  @Test
  void presets_areThese() throws IOException {
    assertThat(presets())
        .extracting(file -> file.getFileName().toString())
        .contains(
            "quickstart.yaml",
            "novels-10m.yaml",
            "30m.yaml",
            "134m.yaml",
            "ee-llm-1.3b.yaml",
            "ee-llm-7b.yaml",
            "ee-llm-13b.yaml",
            "ee-llm-30b.yaml",
            "llama-70b.yaml",
            "llama-405b.yaml");
  }

  @ParameterizedTest
  @MethodSource("presets")
  void preset_everyOne_loadsByFileAndByName(Path file) {
    String name = file.getFileName().toString().replace(".yaml", "");
    RunConfig config = ConfigFile.read(file, List.of());

    assertThat(config.exits().layers()).hasSize(2);
    assertThat(ConfigFile.preset(name, List.of())).isEqualTo(config);
    assertThat(ConfigFile.preset(name, List.of("train.seed=7")).train().seed()).isEqualTo(7);
  }

  @Test
  void preset_unknownName_isRefused() {
    assertThatThrownBy(() -> ConfigFile.preset("31m", List.of()))
        .isInstanceOf(ConfigException.class)
        .hasMessage("configs/31m.yaml: is not part of this build");
  }

  /** The matrices have about as many parameters as the name says. */
  @ParameterizedTest
  @CsvSource({
    "30m, 29_500_000",
    "134m, 134_100_000",
    "novels-10m, 10_300_000",
    "ee-llm-1.3b, 1_270_000_000",
    "ee-llm-7b, 7_000_000_000",
    "ee-llm-13b, 13_300_000_000",
    "ee-llm-30b, 32_800_000_000",
  })
  void preset_size_isItsName(String name, String parameters) {
    RunConfig config = ConfigFile.preset(name, List.of());
    ModelConfig model = config.model();
    long embedding = (long) model.vocabSize() * model.hiddenSize();
    long layer =
        4L * model.hiddenSize() * model.hiddenSize()
            + 3L * model.hiddenSize() * model.ffnHiddenSize();
    int untied =
        (model.tieEmbeddings() ? 0 : 1)
            + (config.exits().tieOutput() ? 0 : config.exits().layers().size());

    double count = embedding * (1.0 + untied) + model.numLayers() * layer;
    double expected = Long.parseLong(parameters.replace("_", ""));
    assertThat(count / expected).as("%s has %.4g parameters", name, count).isBetween(0.98, 1.02);
  }

  @ParameterizedTest
  @CsvSource({"1.3b, 5440", "7b, 10880", "13b, 13632", "30b, 17728"})
  void preset_eeLlm_feedForwardWidthIsTheOriginals(String size, int width) {
    assertThat(ConfigFile.preset("ee-llm-" + size, List.of()).model().ffnHiddenSize())
        .isEqualTo(width);
  }
}
