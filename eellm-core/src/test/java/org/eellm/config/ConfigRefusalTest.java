package org.eellm.config;

import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What is refused in a configuration, in one line that names place and remedy. */
final class ConfigRefusalTest {
  @TempDir private Path folder;

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
            + " known here: asynchronous, interval, keep, minutes",
        "data: {sources: [{path: a, weight: 1, size: 2}]}|run.yaml:1: data.sources[0].size:"
            + " unknown key; known here: path, weight",
        "train: {rampup: {stat: 1}}|run.yaml:1: train.rampup.stat: unknown key;"
            + " did you mean train.rampup.start?",
        "model: {rope_scaling: {type: none, factor: 2}}|run.yaml:1: model.rope_scaling.factor:"
            + " unknown key; remove it",
        "{1: 2}|run.yaml:1: 1: unknown key; known here: checkpoint, data, exits, logging, model,"
            + " optimizer, parallel, train, tune",
        // Sizes that nothing can be made of.
        "exits: {layers: [2], weights: [1e308]}|run.yaml:1: exits.weights: 1.0E308 is beyond"
            + " 1000000; the final head's is 1",
        "data: {sources: [{path: a, weight: 1e300}]}|run.yaml:1: data.sources: weight 1.0E300 of a"
            + " is not a number above 0, at most 1e+09",
        "data: {split: [1e300, 1, 0]}|run.yaml:1: data.split: [1.0E300, 1.0, 0.0] has a share"
            + " outside 0..1e+09; shares are relative",
        "data: {attend_across_documents: false}|run.yaml:1: data.attend_across_documents: false"
            + " needs data.tokenizer, whose end token divides documents; set it",
        "model: {num_layers: 1000000000}|run.yaml:1: model.num_layers: 1000000000 is outside"
            + " 1..10000",
        "model: {hidden_size: 1000000000}|run.yaml:1: model.hidden_size: 1000000000 makes an MLP of"
            + " 2666666624; make it smaller",
        "parallel: {pp: 2, fill_warmup: 100000}|run.yaml:1: parallel.fill_warmup: 100000 is beyond"
            + " 256; use -1 for as many as cost no time",
        "{train: {micro_batch_size: 3, global_batch_size: 3}, parallel: {dp: 4}}|run.yaml:1:"
            + " train.global_batch_size: 3 is not a multiple of 12 (train.micro_batch_size 3 x"
            + " parallel.dp 4); use 12",
        "{data: {sequence_length: 100}, parallel: {cp: 4}}|run.yaml:1: parallel.cp: 4 shares out"
            + " 8 blocks of a sequence, and data.sequence_length 100 is not a multiple of that;"
            + " use 96 or 104",
        "parallel: {cp: 0}|run.yaml:1: parallel.cp: 0 is below 1; use 1 or more",
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
        "model: {rope_scaling: {type: ntk}}|run.yaml:1: model.rope_scaling:"
            + " \"ntk\" is not a type; use one of none, linear, llama3, yarn, longrope",
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
        "model: {num_layers: 2, layer_types: [sliding, sliding, full], sliding_window:"
            + " 4}|run.yaml:1: model.layer_types: 3 types are more than num_layers 2; use as many"
            + " or fewer, which repeat",
        "model: {position_embedding: learned, layer_types: [full, no_positions]}|run.yaml:1:"
            + " model.layer_types: no_positions is for position_embedding rope, and a learned table"
            + " is added for all layers; use full",
        "model: {rope_theta: 1, rope_scaling: {type: yarn, factor: 2, original_max_positions: 8,"
            + " beta_fast: 32, beta_slow: 1, attention_factor: 0, truncate: true}}|run.yaml:1:"
            + " model.rope_theta: 1.0 gives no falling frequencies, which yarn divides; 10000 is"
            + " usual",
        // Settings without effect.
        "optimizer: {schedule: constant, min_learning_rate: 1e-4}|run.yaml:1:"
            + " optimizer.min_learning_rate: 1.0E-4 has no effect with optimizer.schedule:"
            + " constant; remove it, or leave it at its default 0.0",
        "optimizer: {stable_share: 0.5}|run.yaml:1: optimizer.stable_share: 0.5 has no effect"
            + " with an optimizer.schedule other than wsd; remove it, or leave it at its default"
            + " 0.8",
        "parallel: {bucket_megabytes: 8}|run.yaml:1: parallel.bucket_megabytes: 8 has no effect"
            + " with parallel.dp: 1; remove it, or leave it at its default 32",
        "model: {position_embedding: learned, rotary_fraction: 0.5}|run.yaml:1:"
            + " model.rotary_fraction: 0.5 has no effect with model.position_embedding: learned;"
            + " remove it, or leave it at its default 1.0",
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
        "model: {max_positions: 300000000}|run.yaml:1: model.max_positions: 300000000 is not from 1"
            + " to 16777216; use the longest text there will be",
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
        "train: !!java.util.Date {steps: 5}|run.yaml:1: train:"
            + " tags such as tag:yaml.org,2002:java.util.Date are not supported; remove it",
        "train: {[a]: 2}|run.yaml:1: train: a key is not a word",
        "train: {\"st\\neps\": 2}|run.yaml:1: train.st?eps: unknown key; did you mean train.steps?",
      })
  void read_badConfiguration_isRefusedInOneLine(String yaml, String message) {
    assertThatThrownBy(() -> RunFile.read(folder, yaml))
        .isInstanceOf(ConfigException.class)
        .hasMessage(message);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "\n", "# nothing\n", "---\n", "null"})
  void read_empty_isRefused(String yaml) {
    assertThatThrownBy(() -> RunFile.read(folder, yaml))
        .isInstanceOf(ConfigException.class)
        .hasMessage("run.yaml: is empty; give at least one section, as in train:");
  }

  @Test
  void read_problemOnALaterLine_namesThatLine() {
    assertThatThrownBy(() -> RunFile.read(folder, "train:\n  steps: 5\n\n  sead: 1\n"))
        .hasMessage("run.yaml:4: train.sead: unknown key; did you mean train.seed?");
    assertThatThrownBy(() -> RunFile.read(folder, "train:\n  steps: 5\nlogging: {}\ntrain: {}\n"))
        .hasMessage("run.yaml:4: train: set twice; keep one");
    assertThatThrownBy(() -> RunFile.read(folder, "train: {}\n---\ntrain: {}\n"))
        .hasMessage("run.yaml:3: a second document; keep one");
    assertThatThrownBy(() -> RunFile.read(folder, "train:\n  steps: [5\nseed: 1\n"))
        .hasMessageStartingWith("run.yaml:3: not YAML: ")
        .hasMessageNotContaining("\n");
    assertThatThrownBy(() -> RunFile.read(folder, "train:\n\tsteps: 5\n"))
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
    assertThatThrownBy(() -> RunFile.read(folder, "train: {}", override))
        .isInstanceOf(ConfigException.class)
        .hasMessage(message);
  }

  @Test
  void read_badYamlInOverride_isRefusedInOneLine() {
    assertThatThrownBy(() -> RunFile.read(folder, "train: {}", "exits.layers=[2,4"))
        .isInstanceOf(ConfigException.class)
        .hasMessageStartingWith("--set exits.layers=[2,4: not YAML: ")
        .hasMessageNotContaining("\n");
  }

  /** Before, each took a StackOverflowError, all memory, or minutes. */
  @ParameterizedTest(name = "{1}")
  @MethodSource
  void read_hostileText_isRefusedInOneLine(String yaml, String message) {
    assertThatThrownBy(() -> RunFile.read(folder, yaml))
        .isInstanceOf(ConfigException.class)
        .hasMessageMatching("run\\.yaml(:[12])?: .*")
        .hasMessageContaining(message)
        .message()
        .hasSizeLessThan(600);
  }

  static Stream<Arguments> read_hostileText_isRefusedInOneLine() {
    String deep = "more than 32 lists and mappings are within each other";
    return Stream.of(
        arguments("train: " + "[".repeat(100_000), deep),
        arguments("- ".repeat(100_000), deep),
        arguments("{a: ".repeat(50_000), deep),
        arguments("train: {steps: " + "9".repeat(200_000) + "}", "... has 200000 characters"),
        arguments("? \"" + ".".repeat(100_000) + "\"\n: 3", "a key is too long"),
        arguments("train: {steps: \"" + "y".repeat(50_000) + "\"}", "... is not a whole number"),
        arguments("parallel: {tp: 2147483647}", "2147483647 does not divide model.num_heads 8"),
        arguments("# " + "x".repeat(300_000), "has 300002 bytes; a file of its kind has 262144"),
        arguments("train: \0", "not YAML: the character U+0000 is not allowed"));
  }

  @Test
  void read_noSuchFile_namesIt() {
    Path file = folder.resolve("absent.yaml");

    assertThatThrownBy(() -> ConfigFile.read(file, List.of()))
        .isInstanceOf(ConfigException.class)
        .hasMessage(file + ": no such file or folder");
    assertThatThrownBy(() -> ConfigFile.read(folder, List.of()))
        .isInstanceOf(ConfigException.class)
        .hasMessageStartingWith(folder + ": is a folder; give a file");
  }

  @Test
  void read_notUtf8_isRefused() throws IOException {
    Path file = folder.resolve("run.yaml");
    Files.write(file, new byte[] {'a', ':', ' ', (byte) 0xff});

    assertThatThrownBy(() -> ConfigFile.read(file, List.of()))
        .isInstanceOf(ConfigException.class)
        .hasMessage(file + ": not UTF-8 text");
  }
}
