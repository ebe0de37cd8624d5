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
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.OptimizerConfig.Schedule;
import org.eellm.config.TrainConfig.Device;
import org.eellm.config.TrainConfig.Rampup;
import org.eellm.config.TrainConfig.Recompute;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class ConfigFileTest {
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
        rotary_fraction: 0.5
        activation: gelu
        linear_bias: true
        qkv_bias: true
        qk_norm: true
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
      train:
        steps: 500
        micro_batch_size: 2
        global_batch_size: 16
        seed: 5000000000
        recompute: selective
        layer_dropout: 0.3
        rampup: {start: 4, increment: 6, samples: 1000}
        eval_interval: 50
        eval_batches: 5
        max_bad_steps: 3
        spike_threshold: 6
        spike_window: 32
        threads: 2
        device: cuda
      optimizer:
        learning_rate: 1e-3
        min_learning_rate: 1e-4
        schedule: wsd
        warmup_steps: 10
        decay_steps: 400
        stable_share: 0.5
        beta1: 0.8
        beta2: 0.99
        epsilon: 1e-6
        weight_decay: 0.01
        clip_norm: 0.5
      parallel: {tp: 1, dp: 1, pp: 1}
      checkpoint:
        interval: 100
        keep: 5
        asynchronous: true
      logging:
        interval: 1
        tensorboard: false
      """;

  private static final Set<String> EXCLUDED = Set.of("positionEmbedding", "split");

  @TempDir private Path folder;

  @Test
  void defaults_areTheseOfEverySection() {
    assertThat(ConfigFile.defaults())
        .isEqualTo(
            new RunConfig(
                new ModelConfig(
                    0,
                    128,
                    512,
                    8,
                    8,
                    8,
                    64,
                    1344,
                    1024,
                    Normalization.RMSNORM,
                    1e-5,
                    PositionEmbedding.ROPE,
                    10000,
                    new RopeScaling.None(),
                    1,
                    Activation.SWIGLU,
                    false,
                    false,
                    false,
                    true,
                    0,
                    0,
                    0.02,
                    DataType.FLOAT32),
                new ExitsConfig(
                    List.of(),
                    Set.of(HeadPart.NORM),
                    true,
                    List.of(),
                    Curriculum.CONSTANT,
                    List.of(),
                    0,
                    false,
                    List.of()),
                new DataConfig(
                    List.of(), List.of(), Optional.empty(), List.of(990.0, 9.0, 1.0), 256),
                new TrainConfig(
                    1000,
                    4,
                    4,
                    1234,
                    Recompute.NONE,
                    0,
                    new Rampup(0, 0, 0),
                    100,
                    10,
                    10,
                    0,
                    64,
                    0,
                    Device.CPU),
                new OptimizerConfig(3e-4, 0, Schedule.COSINE, 0, 0, 0.8, 0.9, 0.95, 1e-8, 0.1, 1),
                ParallelConfig.alone(),
                new CheckpointConfig(0, 2, false),
                new LoggingConfig(10, true),
                new TuneConfig(Optional.empty(), Optional.empty(), TuneConfig.Target.TEXT)));
  }

  @Test
  void read_everyKey_mapsToItsComponent() throws IOException {
    RunConfig config = read(EVERY_KEY);

    assertThat(config)
        .isEqualTo(
            new RunConfig(
                new ModelConfig(
                    1000,
                    8,
                    96,
                    6,
                    6,
                    3,
                    32,
                    200,
                    128,
                    Normalization.LAYERNORM,
                    1e-6,
                    PositionEmbedding.ROPE,
                    500000,
                    new RopeScaling.Llama3(8, 1, 4, 64),
                    0.5,
                    Activation.GELU,
                    true,
                    true,
                    true,
                    false,
                    0.1,
                    0.2,
                    0.01,
                    DataType.BFLOAT16),
                new ExitsConfig(
                    List.of(2, 4),
                    EnumSet.of(HeadPart.MLP, HeadPart.BLOCK),
                    false,
                    List.of(0.25, 0.5),
                    Curriculum.COSINE,
                    List.of(0.1, 0.2),
                    20,
                    true,
                    List.of(1.5, 2.0)),
                new DataConfig(
                    List.of(new Source("a", 0.7), new Source("b", 3), new Source("c", 1)),
                    List.of(new Source("d", 1)),
                    Optional.of("folder"),
                    List.of(990.0, 9.0, 1.0),
                    64),
                new TrainConfig(
                    500,
                    2,
                    16,
                    5_000_000_000L,
                    Recompute.SELECTIVE,
                    0.3,
                    new Rampup(4, 6, 1000),
                    50,
                    5,
                    3,
                    6,
                    32,
                    2,
                    Device.CUDA),
                new OptimizerConfig(
                    1e-3, 1e-4, Schedule.WSD, 10, 400, 0.5, 0.8, 0.99, 1e-6, 0.01, 0.5),
                ParallelConfig.alone(),
                new CheckpointConfig(100, 5, true),
                new LoggingConfig(1, false),
                new TuneConfig(Optional.empty(), Optional.empty(), TuneConfig.Target.TEXT)));
  }

  @Test
  void read_settingsThatExcludeOthers_mapToTheirComponents() throws IOException {
    RunConfig config = read("{model: {position_embedding: learned}, data: {split: [8, 1, 1]}}");

    assertThat(config.model().positionEmbedding()).isEqualTo(PositionEmbedding.LEARNED);
    assertThat(config.data().split()).containsExactly(8.0, 1.0, 1.0);
  }

  /** So that a component whose key is forgotten above cannot pass by its default. */
  @Test
  void read_everyKey_leavesNoComponentAtItsDefault() throws Exception {
    RunConfig config = read(EVERY_KEY);
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
  void readTuning_fillsInTheModel_andRefusesAnother() throws IOException {
    Path file = folder.resolve("tune.yaml");
    Files.writeString(file, "exits: {layers: [4], weights: [0.5]}\n");
    ExitLayout exits = new ExitLayout(List.of(2, 4), true, true, false, false);
    ModelConfig model = ConfigFile.defaults().model().withVocabSize(512);
    Architecture architecture = new Architecture(model, exits);
    TuneConfig tune = new TuneConfig(Optional.of("m"), Optional.of("h"), TuneConfig.Target.TEXT);

    RunConfig config =
        ConfigFile.readTuning(
            file, List.of("model.dtype=bfloat16", "tune.target=final_head"), tune, architecture);

    assertThat(config.model()).isEqualTo(model.withDtype(DataType.BFLOAT16));
    assertThat(config.exits().layout())
        .isEqualTo(new ExitLayout(List.of(4), true, true, false, false));
    assertThat(config.tune())
        .isEqualTo(
            new TuneConfig(Optional.of("m"), Optional.of("h"), TuneConfig.Target.FINAL_HEAD));
    Path copy = folder.resolve("copy.yaml");
    ConfigFile.write(config, copy);
    assertThat(ConfigFile.readTuning(copy, List.of(), tune, architecture)).isEqualTo(config);
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
              () -> ConfigFile.readTuning(file, List.of(refused.getKey()), tune, architecture))
          .isInstanceOf(ConfigException.class)
          .hasMessage(refused.getValue());
    }
  }

  @Test
  void write_readsBackEqual() throws IOException {
    RunConfig config = read(EVERY_KEY);
    Path copy = folder.resolve("copy.yaml");

    ConfigFile.write(config, copy);
    assertThat(ConfigFile.read(copy, List.of())).isEqualTo(config);

    ConfigFile.write(ConfigFile.defaults(), copy);
    assertThat(ConfigFile.read(copy, List.of())).isEqualTo(ConfigFile.defaults());
  }

  @Test
  void read_overrides_winOverTheFileAndLaterOverEarlier() throws IOException {
    RunConfig config =
        read(
            EVERY_KEY,
            "train.steps=7",
            "optimizer.warmup_steps=0",
            "train.steps=9",
            "exits.layers=[1,3]",
            "model.rope_scaling={type: linear, factor: 2}",
            "data.tokenizer=null",
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
        read("train: {}", "model.rope_scaling.type=linear", "model.rope_scaling.factor=4");

    assertThat(config.model().ropeScaling()).isEqualTo(new RopeScaling.Linear(4));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        // Unknown keys.
        "train: {stepz: 5}|run.yaml:1: train.stepz: unknown key; did you mean train.steps?",
        "trian: {steps: 5}|run.yaml:1: trian: unknown key; did you mean train?",
        "train: {learning_rate: 1}|run.yaml:1: train.learning_rate: unknown key;"
            + " did you mean optimizer.learning_rate?",
        "type: x|run.yaml:1: type: unknown key; did you mean tune?",
        "steps: 5|run.yaml:1: steps: unknown key; did you mean train.steps?",
        "checkpoint: {colour: red}|run.yaml:1: checkpoint.colour: unknown key;"
            + " known here: asynchronous, interval, keep",
        "data: {sources: [{path: a, weight: 1, size: 2}]}|run.yaml:1: data.sources[0].size:"
            + " unknown key; known here: path, weight",
        "train: {rampup: {stat: 1}}|run.yaml:1: train.rampup.stat: unknown key;"
            + " did you mean train.rampup.start?",
        "model: {rope_scaling: {type: none, factor: 2}}|run.yaml:1: model.rope_scaling.factor:"
            + " unknown key; remove it",
        "{1: 2}|run.yaml:1: 1: unknown key; known here: checkpoint, data, exits, logging, model,"
            + " optimizer, parallel, train, tune",
        // Values of another type.
        "train: {steps: '12'}|run.yaml:1: train.steps: \"12\" is not a whole number below 2^31",
        "train: {steps: 1.5}|run.yaml:1: train.steps: 1.5 is not a whole number below 2^31",
        "train: {steps: true}|run.yaml:1: train.steps: true is not a whole number below 2^31",
        "train: {steps: [1]}|run.yaml:1: train.steps: [1] is not a whole number below 2^31",
        "train: {steps: 3000000000}|run.yaml:1: train.steps: 3000000000 is not a whole number"
            + " below 2^31",
        "train: {steps: }|run.yaml:1: train.steps: has no value; give one or remove the key",
        "train: {steps: 1e3}|run.yaml:1: train.steps: 1000.0 is not a whole number below 2^31",
        "train:|run.yaml:1: train: has no value; give one or remove the key",
        "train: 5|run.yaml:1: train: 5 is not a mapping of keys to values",
        "train: [5]|run.yaml:1: train: [5] is not a mapping of keys to values",
        "train: x|run.yaml:1: train: \"x\" is not a mapping of keys to values",
        "train: ''|run.yaml:1: train: \"\" is not a mapping of keys to values",
        "model: {linear_bias: 1}|run.yaml:1: model.linear_bias: 1 is not true or false",
        "model: {linear_bias: yes}|run.yaml:1: model.linear_bias: \"yes\" is not true or false",
        "model: {norm_epsilon: '1e-5'}|run.yaml:1: model.norm_epsilon: \"1e-5\" is not a number",
        "model: {norm_epsilon: true}|run.yaml:1: model.norm_epsilon: true is not a number",
        "model: {norm_epsilon: .nan}|run.yaml:1: model.norm_epsilon: .nan is not a finite number",
        "model: {norm_epsilon: .inf}|run.yaml:1: model.norm_epsilon: .inf is not a finite number",
        "model: {norm_epsilon: 1e999}|run.yaml:1: model.norm_epsilon: 1e999 is not a finite number",
        "model: {dtype: fp16}|run.yaml:1: model.dtype: \"fp16\" is not one of float32, bfloat16",
        "model: {dtype: FLOAT32}|run.yaml:1: model.dtype: \"FLOAT32\" is not one of float32,"
            + " bfloat16",
        "model: {dtype: 1}|run.yaml:1: model.dtype: 1 is not one of float32, bfloat16",
        "model: {dtype: ''}|run.yaml:1: model.dtype: \"\" is not one of float32, bfloat16",
        "exits: {layers: 2}|run.yaml:1: exits.layers: 2 is not a list; write it as [a, b]",
        "exits: {layers: ''}|run.yaml:1: exits.layers: \"\" is not a list; write it as [a, b]",
        "exits: {layers: [2, '4']}|run.yaml:1: exits.layers[1]: \"4\" is not a whole number"
            + " below 2^31",
        "exits: {layers: [2, null]}|run.yaml:1: exits.layers[1]: has no value;"
            + " give one or remove the key",
        "exits: {head: [nrm]}|run.yaml:1: exits.head[0]: \"nrm\" is not one of mlp, block, norm",
        "data: {tokenizer: 12}|run.yaml:1: data.tokenizer: 12 is not text; put it in quotes",
        "data: {sources: [{path: a}]}|run.yaml:1: data.sources[0].weight: is missing; give it",
        "data: {sources: [12]}|run.yaml:1: data.sources[0]: 12 is not a mapping of keys to values",
        "model: {rope_scaling: {type: linear}}|run.yaml:1: model.rope_scaling.factor:"
            + " is missing; give it",
        "model: {rope_scaling: {type: yarn}}|run.yaml:1: model.rope_scaling:"
            + " \"yarn\" is not a type; use one of none, linear, llama3",
        "model: {rope_scaling: linear}|run.yaml:1: model.rope_scaling:"
            + " \"linear\" is not a mapping of keys to values",
        // Values that cannot be honoured.
        "exits: {layers: [14]}|run.yaml:1: exits.layers: 14 is beyond the model's 8 layers;"
            + " use 1..8",
        "optimizer: {learning_rate: -1}|run.yaml:1: optimizer.learning_rate: -1.0 is not positive;"
            + " 3e-4 is usual",
        "optimizer: {warmup_steps: 50, decay_steps: 50}|run.yaml:1: optimizer.decay_steps:"
            + " 50 is not beyond warmup_steps 50; 0 means train.steps",
        "optimizer: {schedule: constant, decay_steps: 50}|run.yaml:1: optimizer.decay_steps:"
            + " 50 has no effect with schedule: constant; remove it or name a schedule",
        // Settings without effect.
        "optimizer: {schedule: constant, min_learning_rate: 1e-4}|run.yaml:1:"
            + " optimizer.min_learning_rate: 1.0E-4 has no effect with optimizer.schedule:"
            + " constant; remove it, or leave it at its default 0.0",
        "optimizer: {stable_share: 0.5}|run.yaml:1: optimizer.stable_share: 0.5 has no effect"
            + " with an optimizer.schedule other than wsd; remove it, or leave it at its default"
            + " 0.8",
        "train: {spike_window: 32}|run.yaml:1: train.spike_window: 32 has no effect with"
            + " train.spike_threshold: 0; remove it, or leave it at its default 64",
        "train: {eval_interval: 0, eval_batches: 3}|run.yaml:1: train.eval_batches: 3 has no effect"
            + " with train.eval_interval: 0; remove it, or leave it at its default 10",
        "train: {rampup: {start: 4}}|run.yaml:1: train.rampup.start: 4 has no effect with"
            + " train.rampup.samples: 0; remove it, or leave it at its default 0",
        "train: {rampup: {increment: 4}}|run.yaml:1: train.rampup.increment: 4 has no effect with"
            + " train.rampup.samples: 0; remove it, or leave it at its default 0",
        "model: {position_embedding: learned, rope_theta: 5}|run.yaml:1: model.rope_theta: 5.0"
            + " has no effect with model.position_embedding: learned; remove it, or leave it at"
            + " its default 10000.0",
        "model: {position_embedding: learned, rope_scaling: {type: linear, factor: 2}}|run.yaml:1:"
            + " model.rope_scaling: {type:linear,factor:2.0} has no effect with"
            + " model.position_embedding: learned; remove it, or leave it at its default"
            + " {type:none}",
        "exits: {head: [mlp]}|run.yaml:1: exits.head: [mlp] has no effect with exits.layers: [];"
            + " remove it, or leave it at its default [norm]",
        "exits: {tie_output: false}|run.yaml:1: exits.tie_output: false has no effect with"
            + " exits.layers: []; remove it, or leave it at its default true",
        "exits: {curriculum: linear, curriculum_steps: 5}|run.yaml:1: exits.curriculum: linear has"
            + " no effect with exits.layers: []; remove it, or leave it at its default constant",
        "exits: {dynamic_token_weights: true}|run.yaml:1: exits.dynamic_token_weights: true has no"
            + " effect with exits.layers: []; remove it, or leave it at its default false",
        "exits: {layers: [2], initial_weights: [0.5]}|run.yaml:1: exits.initial_weights: [0.5] has"
            + " no effect with exits.curriculum: constant; remove it, or leave it at its default"
            + " []",
        "exits: {layers: [2], initial_weights: [0.5], curriculum: gradual, curriculum_steps: 5}"
            + "|run.yaml:1: exits.initial_weights: [0.5] has no effect with exits.curriculum:"
            + " gradual; remove it, or leave it at its default []",
        "exits: {layers: [2], initial_weights: [0.5], curriculum: rotational, curriculum_steps: 5}"
            + "|run.yaml:1: exits.initial_weights: [0.5] has no effect with exits.curriculum:"
            + " rotational; remove it, or leave it at its default []",
        "data: {validation: [a], split: [8, 1, 1]}|run.yaml:1: data.split: [8.0,1.0,1.0] has no"
            + " effect with data.validation; remove it, or leave it at its default"
            + " [990.0,9.0,1.0]",
        "parallel: {balance: cost}|run.yaml:1: parallel.balance: cost has no effect with"
            + " parallel.pp: 1; remove it, or leave it at its default even",
        "parallel: {pre_exit: true}|run.yaml:1: parallel.pre_exit: true has no effect with"
            + " parallel.pp: 1; remove it, or leave it at its default false",
        "model: {hidden_size: 100}|model.num_heads: 8 does not divide hidden_size 100;"
            + " use a divisor or set model.head_dim",
        // YAML that is no configuration.
        "[1, 2]|run.yaml: is not a mapping; begin with a section, as in train:",
        "text|run.yaml: is not a mapping; begin with a section, as in train:",
        "train: {steps: &a 5}|run.yaml:1: train.steps: anchors are not supported;"
            + " write the value out",
        "train: {steps: !!binary 5}|run.yaml:1: train.steps:"
            + " tags such as tag:yaml.org,2002:binary are not supported; remove it",
        "train: {steps: 1, steps: 2}|run.yaml:1: train.steps: set twice; keep one",
        "train: {[a]: 2}|run.yaml:1: train: a key is not a word",
      })
  void read_badConfiguration_isRefusedInOneLine(String yaml, String message) {
    assertThatThrownBy(() -> read(yaml)).isInstanceOf(ConfigException.class).hasMessage(message);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "\n", "# nothing\n", "---\n", "null"})
  void read_empty_isRefused(String yaml) {
    assertThatThrownBy(() -> read(yaml))
        .isInstanceOf(ConfigException.class)
        .hasMessage("run.yaml: is empty; give at least one section, as in train:");
  }

  @Test
  void read_problemOnALaterLine_namesThatLine() {
    assertThatThrownBy(() -> read("train:\n  steps: 5\n\n  sead: 1\n"))
        .hasMessage("run.yaml:4: train.sead: unknown key; did you mean train.seed?");
    assertThatThrownBy(() -> read("train:\n  steps: 5\nlogging: {}\ntrain: {}\n"))
        .hasMessage("run.yaml:4: train: set twice; keep one");
    assertThatThrownBy(() -> read("train: {}\n---\ntrain: {}\n"))
        .hasMessage("run.yaml:3: a second document; keep one");
    assertThatThrownBy(() -> read("train:\n  steps: [5\nseed: 1\n"))
        .hasMessageStartingWith("run.yaml:3: not YAML: ")
        .hasMessageNotContaining("\n");
    assertThatThrownBy(() -> read("train:\n\tsteps: 5\n"))
        .hasMessageStartingWith("run.yaml:2: not YAML: ")
        .hasMessageNotContaining("\n");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "train.stepz=5|--set train.stepz=5: train.stepz: unknown key; did you mean train.steps?",
        "train.steps='5'|--set train.steps='5': train.steps: \"5\" is not a whole number"
            + " below 2^31",
        "train.steps=|--set train.steps=: is not of the form section.key=value",
        "train.steps.more=1|--set train.steps.more=1: train.steps: {\"more\":1}"
            + " is not a whole number below 2^31",
        "train.steps=0|--set train.steps=0: train.steps: 0 is below 1; use 1 or more",
        "train.steps|--set train.steps: is not of the form section.key=value",
        "=5|--set =5: is not of the form section.key=value",
        "train.=5|--set train.=5: is not of the form section.key=value",
        "train..steps=5|--set train..steps=5: is not of the form section.key=value",
        "train=5|--set train=5: train: 5 is not a mapping of keys to values",
      })
  void read_badOverride_isRefusedInOneLine(String override, String message) {
    assertThatThrownBy(() -> read("train: {}", override))
        .isInstanceOf(ConfigException.class)
        .hasMessage(message);
  }

  @Test
  void read_badYamlInOverride_isRefusedInOneLine() {
    assertThatThrownBy(() -> read("train: {}", "exits.layers=[2,4"))
        .isInstanceOf(ConfigException.class)
        .hasMessageStartingWith("--set exits.layers=[2,4: not YAML: ")
        .hasMessageNotContaining("\n");
  }

  @Test
  void read_noSuchFile_namesIt() {
    Path file = folder.resolve("absent.yaml");

    assertThatThrownBy(() -> ConfigFile.read(file, List.of()))
        .isInstanceOf(ConfigException.class)
        .hasMessage(file + ": no such file");
    assertThatThrownBy(() -> ConfigFile.read(folder, List.of()))
        .isInstanceOf(ConfigException.class)
        .hasMessageStartingWith(folder + ": cannot be read");
  }

  @Test
  void read_notUtf8_isRefused() throws IOException {
    Path file = folder.resolve("run.yaml");
    Files.write(file, new byte[] {'a', ':', ' ', (byte) 0xff});

    assertThatThrownBy(() -> ConfigFile.read(file, List.of()))
        .isInstanceOf(ConfigException.class)
        .hasMessage(file + ": is not UTF-8 text");
  }

  /** Reads a file {@code run.yaml}; messages name it without the folder. */
  private RunConfig read(String yaml, String... overrides) throws IOException {
    Path file = Files.writeString(folder.resolve("run.yaml"), yaml);
    try {
      return ConfigFile.read(file, List.of(overrides));
    } catch (ConfigException e) {
      String message = String.valueOf(e.getMessage());
      throw new ConfigException(message.replace(folder + "/", ""), e);
    }
  }
}
