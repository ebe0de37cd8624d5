package org.eellm.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.reflect.RecordComponent;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.eellm.config.DataConfig.Source;
import org.eellm.config.ExitsConfig.Curriculum;
import org.eellm.config.ExitsConfig.HeadPart;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.ModelConfig.NormPlacement;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.config.OptimizerConfig.Algorithm;
import org.eellm.config.OptimizerConfig.Schedule;
import org.eellm.config.TrainConfig.Device;
import org.eellm.config.TrainConfig.LayerDropoutCurriculum;
import org.eellm.config.TrainConfig.Rampup;
import org.eellm.config.TrainConfig.Recompute;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class ConfigFileTest {
  private static final TuneConfig NO_TUNING =
      new TuneConfig(
          Optional.empty(), Optional.empty(), TuneConfig.Target.TEXT, TuneConfig.Lora.none());

  private static final String EVERY_KEY =
      """
      model:
        vocab_size: 1000
        vocab_multiple: 8
        hidden_size: 96
        num_layers: 6
        num_heads: 6
        num_key_value_heads: 3
        head_dim: 32
        ffn_hidden_size: 200
        max_positions: 128
        normalization: layernorm
        norm_epsilon: 1e-6
        position_embedding: rope
        rope_theta: 500000
        rope_scaling:
          type: llama3
          factor: 8
          low_freq_factor: 1
          high_freq_factor: 4
          original_max_positions: 64
        residual: parallel
        rotary_fraction: 0.5
        layer_types: [sliding, full]
        sliding_window: 16
        sliding_rope_theta: 1000
        activation: gelu
        linear_bias: true
        qkv_bias: true
        attention_bias: true
        qk_norm: true
        attention_scale: 0.2
        attention_softcap: 50
        logit_softcap: 30
        embedding_scale: 2
        residual_scale: 0.5
        logit_scale: 0.25
        tie_embeddings: false
        hidden_dropout: 0.1
        attention_dropout: 0.2
        init_std: 0.01
        dtype: bfloat16
      exits:
        layers: [2, 4]
        head: [block, mlp]
        tie_output: false
        weights: [0.25, 0.5]
        curriculum: cosine
        initial_weights: [0.1, 0.2]
        curriculum_steps: 20
        dynamic_token_weights: true
        distillation: 0.5
        distillation_start: 5
        distillation_steps: 7
        temperatures: [1.5, 2]
      data:
        sources:
          - path: a
            weight: 0.7
          - {path: b, weight: 3}
          - c
        validation: [d]
        tokenizer: folder
        split: [990, 9, 1]
        sequence_length: 64
        attend_across_documents: false
      train:
        steps: 500
        micro_batch_size: 2
        global_batch_size: 16
        seed: 5000000000
        recompute: selective
        layer_dropout: 0.3
        layer_dropout_curriculum: constant
        rampup: {start: 4, increment: 6, samples: 1000}
        eval_interval: 50
        eval_batches: 5
        max_bad_steps: 3
        spike_threshold: 6
        spike_window: 32
        copies_interval: 40
        deterministic: true
        threads: 2
        device: cuda
        model: trunk
      optimizer:
        algorithm: muon
        learning_rate: 1e-3
        min_learning_rate: 1e-4
        schedule: wsd
        warmup_steps: 10
        decay_steps: 400
        stable_share: 0.5
        beta1: 0.8
        beta2: 0.99
        epsilon: 1e-6
        muon_learning_rate: 2e-3
        weight_decay: 0.01
        clip_norm: 0.5
      parallel: {tp: 1, dp: 1, pp: 1}
      checkpoint:
        interval: 100
        minutes: 2.5
        keep: 5
        asynchronous: true
      logging:
        interval: 1
        tensorboard: false
      """;

  private static final Set<String> EXCLUDED =
      Set.of("normPlacement", "zeroCenteredNorm", "qkNormWhole", "positionEmbedding", "split");

  @TempDir private Path folder;

  @Test
  void defaults_areTheseOfEverySection() {
    assertThat(ConfigFile.defaults())
        .isEqualTo(
            new RunConfig(
                ModelConfig.builder()
                    .vocabSize(0)
                    .vocabMultiple(128)
                    .hiddenSize(512)
                    .numLayers(8)
                    .numHeads(8)
                    .numKeyValueHeads(8)
                    .headDim(64)
                    .ffnHiddenSize(1344)
                    .maxPositions(1024)
                    .tieEmbeddings(true)
                    .build(),
                new ExitsConfig(
                    List.of(),
                    Set.of(HeadPart.NORM),
                    true,
                    List.of(),
                    Curriculum.CONSTANT,
                    List.of(),
                    0,
                    false,
                    0,
                    0,
                    0,
                    List.of()),
                new DataConfig(
                    List.of(), List.of(), Optional.empty(), List.of(990.0, 9.0, 1.0), 256, true),
                new TrainConfig(
                    1000,
                    4,
                    4,
                    1234,
                    Recompute.NONE,
                    0,
                    LayerDropoutCurriculum.EXPONENTIAL,
                    new Rampup(0, 0, 0),
                    100,
                    10,
                    10,
                    0,
                    64,
                    0,
                    false,
                    0,
                    Device.CPU,
                    Optional.empty()),
                new OptimizerConfig(
                    Algorithm.ADAMW,
                    3e-4,
                    0,
                    Schedule.COSINE,
                    0,
                    0,
                    0.8,
                    0.9,
                    0.95,
                    1e-8,
                    0,
                    0.1,
                    1),
                ParallelConfig.singleRank(),
                new CheckpointConfig(0, 10, 2, false),
                new LoggingConfig(10, true),
                NO_TUNING));
  }

  @Test
  void read_everyKey_mapsToItsComponent() throws IOException {
    RunConfig config = RunFile.read(folder, EVERY_KEY);

    assertThat(config)
        .isEqualTo(
            new RunConfig(
                ModelConfig.builder()
                    .vocabSize(1000)
                    .vocabMultiple(8)
                    .hiddenSize(96)
                    .numLayers(6)
                    .numHeads(6)
                    .numKeyValueHeads(3)
                    .headDim(32)
                    .ffnHiddenSize(200)
                    .maxPositions(128)
                    .normalization(Normalization.LAYERNORM)
                    .normEpsilon(1e-6)
                    .residual(Residual.PARALLEL)
                    .ropeTheta(500000)
                    .ropeScaling(new RopeScaling.Llama3(8, 1, 4, 64))
                    .rotaryFraction(0.5)
                    .layerTypes(List.of(LayerType.SLIDING, LayerType.FULL))
                    .slidingWindow(16)
                    .slidingRopeTheta(1000)
                    .activation(Activation.GELU)
                    .linearBias(true)
                    .qkvBias(true)
                    .attentionBias(true)
                    .qkNorm(true)
                    .attentionScale(0.2)
                    .attentionSoftcap(50)
                    .logitSoftcap(30)
                    .embeddingScale(2)
                    .residualScale(0.5)
                    .logitScale(0.25)
                    .hiddenDropout(0.1)
                    .attentionDropout(0.2)
                    .initStd(0.01)
                    .dtype(DataType.BFLOAT16)
                    .build(),
                new ExitsConfig(
                    List.of(2, 4),
                    EnumSet.of(HeadPart.MLP, HeadPart.BLOCK),
                    false,
                    List.of(0.25, 0.5),
                    Curriculum.COSINE,
                    List.of(0.1, 0.2),
                    20,
                    true,
                    0.5,
                    5,
                    7,
                    List.of(1.5, 2.0)),
                new DataConfig(
                    List.of(new Source("a", 0.7), new Source("b", 3), new Source("c", 1)),
                    List.of(new Source("d", 1)),
                    Optional.of("folder"),
                    List.of(990.0, 9.0, 1.0),
                    64,
                    false),
                new TrainConfig(
                    500,
                    2,
                    16,
                    5_000_000_000L,
                    Recompute.SELECTIVE,
                    0.3,
                    LayerDropoutCurriculum.CONSTANT,
                    new Rampup(4, 6, 1000),
                    50,
                    5,
                    3,
                    6,
                    32,
                    40,
                    true,
                    2,
                    Device.CUDA,
                    Optional.of("trunk")),
                new OptimizerConfig(
                    Algorithm.MUON,
                    1e-3,
                    1e-4,
                    Schedule.WSD,
                    10,
                    400,
                    0.5,
                    0.8,
                    0.99,
                    1e-6,
                    2e-3,
                    0.01,
                    0.5),
                ParallelConfig.singleRank(),
                new CheckpointConfig(100, 2.5, 5, true),
                new LoggingConfig(1, false),
                NO_TUNING));
  }

  @Test
  void read_settingsThatExcludeOthers_mapToTheirComponents() throws IOException {
    RunConfig config =
        RunFile.read(folder, "{model: {position_embedding: learned}, data: {split: [8, 1, 1]}}");

    assertThat(config.model().positionEmbedding()).isEqualTo(PositionEmbedding.LEARNED);
    assertThat(config.data().split()).containsExactly(8.0, 1.0, 1.0);

    ModelConfig gemma =
        RunFile.read(
                folder,
                "model: {norm_placement: around, zero_centered_norm: true, qk_norm_whole: true}")
            .model();
    assertThat(gemma.normPlacement()).isEqualTo(NormPlacement.AROUND);
    assertThat(gemma.zeroCenteredNorm()).isTrue();
    assertThat(gemma.qkNormWhole()).isTrue();
  }

  /** So that a component whose key is forgotten above cannot pass by its default. */
  @Test
  void read_everyKey_leavesNoComponentAtItsDefault() throws Exception {
    RunConfig config = RunFile.read(folder, EVERY_KEY);
    RunConfig defaults = ConfigFile.defaults();

    for (RecordComponent section : RunConfig.class.getRecordComponents()) {
      if (section.getType() == ParallelConfig.class) {
        continue; // Only one value is possible yet.
      }
      if (section.getName().equals("tune")) {
        continue; // It leaves keys of other sections without effect, and is read above.
      }
      for (RecordComponent setting : section.getType().getRecordComponents()) {
        Object value = setting.getAccessor().invoke(section.getAccessor().invoke(config));
        if (EXCLUDED.contains(setting.getName())) {
          continue; // It would leave another key without effect, and is read above.
        }
        Object fallback = setting.getAccessor().invoke(section.getAccessor().invoke(defaults));
        assertThat(value).as(section.getName() + "." + setting.getName()).isNotEqualTo(fallback);
      }
    }
  }

  @Test
  void readTrainingOn_fillsInTheModel_andLetsDropoutBeOther() throws IOException {
    Path file = folder.resolve("train.yaml");
    Files.writeString(file, "exits: {layers: [4], weights: [0.5]}\n");
    ExitLayout exits = new ExitLayout(List.of(2, 4), true, true, false, false);
    ModelConfig model = ConfigFile.defaults().model().withVocabSize(512);
    Architecture architecture = new Architecture(model, exits);
    RunConfig config =
        ConfigFile.readTrainingOn(
            ConfigFile.Text.of(file),
            List.of("model.hidden_dropout=0.1"),
            Path.of("m"),
            architecture);
    assertThat(config.train().model()).contains("m");
    assertThat(config.tune().model()).isEmpty();
    assertThat(config.model().withoutDropout()).isEqualTo(model);
    assertThat(config.model()).isNotEqualTo(model);
    assertThat(config.exits().layout())
        .isEqualTo(new ExitLayout(List.of(4), true, true, false, false));
    assertThatThrownBy(
            () ->
                ConfigFile.readTrainingOn(
                    ConfigFile.Text.of(file),
                    List.of("model.hidden_size=64"),
                    Path.of("m"),
                    architecture))
        .hasMessage(
            "--set model.hidden_size=64: model.hidden_size: 64 is not the model's 512; leave it"
                + " out");
  }

  @Test
  void readTrainingOn_modelWithoutExits_hasNone() throws IOException {
    Path file = folder.resolve("train.yaml");
    Files.writeString(file, "train: {steps: 5}\n");
    ModelConfig model = ConfigFile.defaults().model().withVocabSize(512);
    ExitLayout untied = new ExitLayout(List.of(), false, false, false, false);
    RunConfig config =
        ConfigFile.readTrainingOn(
            ConfigFile.Text.of(file), List.of(), Path.of("m"), new Architecture(model, untied));
    assertThat(config.exits().layers()).isEmpty();
    assertThat(config.model()).isEqualTo(model);
  }

  @Test
  void readTuning_fillsInTheModel_andRefusesAnother() throws IOException {
    Path file = folder.resolve("tune.yaml");
    Files.writeString(file, "exits: {layers: [4], weights: [0.5]}\n");
    ExitLayout exits = new ExitLayout(List.of(2, 4), true, true, false, false);
    ModelConfig model = ConfigFile.defaults().model().withVocabSize(512);
    Architecture architecture = new Architecture(model, exits);
    TuneConfig tune =
        new TuneConfig(
            Optional.of("m"), Optional.of("h"), TuneConfig.Target.TEXT, TuneConfig.Lora.none());

    RunConfig config =
        ConfigFile.readTuning(
            ConfigFile.Text.of(file),
            List.of("model.dtype=bfloat16", "tune.target=final_head"),
            tune,
            architecture);

    assertThat(config.model()).isEqualTo(model.withDtype(DataType.BFLOAT16));
    assertThat(config.exits().layout())
        .isEqualTo(new ExitLayout(List.of(4), true, true, false, false));
    assertThat(config.tune())
        .isEqualTo(
            new TuneConfig(
                Optional.of("m"),
                Optional.of("h"),
                TuneConfig.Target.FINAL_HEAD,
                TuneConfig.Lora.none()));
    Path copy = folder.resolve("copy.yaml");
    ConfigFile.write(config, copy);
    assertThat(ConfigFile.readTuning(ConfigFile.Text.of(copy), List.of(), tune, architecture))
        .isEqualTo(config);
    for (var refused :
        Map.of(
                "model.hidden_size=64",
                "--set model.hidden_size=64: model.hidden_size: 64 is not the model's 512; leave it"
                    + " out",
                "exits.head=[norm]",
                "--set exits.head=[norm]: exits.head: [norm] is not the model's [mlp,norm]; leave"
                    + " it out",
                "exits.layers=[3]",
                "--set exits.layers=[3]: exits.layers: 3 is none of the model's exits [2, 4]; add"
                    + " it with eellm add-exits",
                "tune.model=other",
                "--set tune.model=other: tune.model: other is not the model's m; leave it out",
                "train.recompute=full",
                "--set train.recompute=full: train.recompute: full has no effect with tune.model;"
                    + " remove it, or leave it at its default none")
            .entrySet()) {
      assertThatThrownBy(
              () ->
                  ConfigFile.readTuning(
                      ConfigFile.Text.of(file), List.of(refused.getKey()), tune, architecture))
          .isInstanceOf(ConfigException.class)
          .hasMessage(refused.getValue());
    }
  }

  @Test
  void write_readsBackEqual() throws IOException {
    RunConfig config = RunFile.read(folder, EVERY_KEY);
    Path copy = folder.resolve("copy.yaml");

    ConfigFile.write(config, copy);
    assertThat(ConfigFile.read(copy, List.of())).isEqualTo(config);

    ConfigFile.write(ConfigFile.defaults(), copy);
    assertThat(ConfigFile.read(copy, List.of())).isEqualTo(ConfigFile.defaults());
  }

  @Test
  void read_overrides_winOverTheFileAndLaterOverEarlier() throws IOException {
    RunConfig config =
        RunFile.read(
            folder,
            EVERY_KEY,
            "train.steps=7",
            "optimizer.warmup_steps=0",
            "train.steps=9",
            "exits.layers=[1,3]",
            "model.rope_scaling={type: linear, factor: 2}",
            "data.tokenizer=null",
            "data.attend_across_documents=true",
            "train.rampup={start: 0, increment: 0, samples: 0}",
            "optimizer.learning_rate=2e-2");

    assertThat(config.train().steps()).isEqualTo(9);
    assertThat(config.exits().layers()).containsExactly(1, 3);
    assertThat(config.model().ropeScaling()).isEqualTo(new RopeScaling.Linear(2));
    assertThat(config.data().tokenizer()).isEmpty();
    assertThat(config.train().rampup()).isEqualTo(new Rampup(0, 0, 0));
    assertThat(config.optimizer().learningRate()).isEqualTo(0.02);
    assertThat(config.model().hiddenSize()).isEqualTo(96);
  }

  @Test
  void read_overrideOfTypeAndThenOfItsKeys_buildsTheScaling() throws IOException {
    RunConfig config =
        RunFile.read(
            folder, "train: {}", "model.rope_scaling.type=linear", "model.rope_scaling.factor=4");

    assertThat(config.model().ropeScaling()).isEqualTo(new RopeScaling.Linear(4));
  }

  @Test
  void read_overrideThatLeavesTheFilesSettingWithoutEffect_wins() throws IOException {
    Path file = folder.resolve("run.yaml");
    Files.writeString(
        file, "{data: {split: [90, 10, 0]}, train: {eval_interval: 5, eval_batches: 3}}");
    RunConfig usual = ConfigFile.defaults();
    RunConfig config = ConfigFile.read(file, List.of("data.validation=[other]"));
    assertThat(config.data().split()).isEqualTo(usual.data().split());
    assertThat(config.train().evalBatches()).isEqualTo(3);

    RunConfig without = ConfigFile.read(file, List.of("train.eval_interval=0"));
    assertThat(without.train().evalBatches()).isEqualTo(usual.train().evalBatches());
    Path written = folder.resolve("written.yaml");
    ConfigFile.write(without, written);
    assertThat(ConfigFile.read(written, List.of())).isEqualTo(without);
  }

  @Test
  void read_overridesThatLeaveEachOtherWithoutEffect_areRefused() throws IOException {
    Path file = folder.resolve("run.yaml");
    Files.writeString(file, "train: {steps: 5}");
    assertThatThrownBy(
            () -> ConfigFile.read(file, List.of("train.eval_interval=0", "train.eval_batches=3")))
        .isInstanceOf(ConfigException.class)
        .hasMessage(
            "--set train.eval_batches=3: train.eval_batches: 3 has no effect with"
                + " train.eval_interval: 0; remove it, or leave it at its default 10");
  }
}
