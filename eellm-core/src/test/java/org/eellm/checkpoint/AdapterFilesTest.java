package org.eellm.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.SafetensorsWriter;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Adapters as PEFT writes them, and as it never would. */
final class AdapterFilesTest {
  private static final String MODULE = "model.layers.0.self_attn.q_proj";

  /** All that PEFT 0.17 writes of a plain low-rank change. */
  private static final String PLAIN =
      """
      {"alora_invocation_tokens": null, "alpha_pattern": {}, "arrow_config": null,
       "auto_mapping": null, "base_model_name_or_path": "llama", "bias": "none",
       "corda_config": null, "ensure_weight_tying": false, "eva_config": null,
       "exclude_modules": null, "fan_in_fan_out": false, "inference_mode": true,
       "init_lora_weights": true, "layer_replication": null, "layers_pattern": null,
       "layers_to_transform": null, "loftq_config": {}, "lora_alpha": 16, "lora_bias": false,
       "lora_dropout": 0.05, "megatron_config": null, "megatron_core": "megatron.core",
       "modules_to_save": null, "peft_type": "LORA", "peft_version": "0.17.1",
       "qalora_group_size": 16, "r": 2, "rank_pattern": {}, "revision": null,
       "target_modules": ["q_proj"], "target_parameters": null, "task_type": "CAUSAL_LM",
       "trainable_token_indices": null, "use_dora": false, "use_qalora": false,
       "use_rslora": false}
      """;

  @TempDir Path folder;

  private void write(List<Long> in, List<Long> out, String config) throws IOException {
    Files.writeString(folder.resolve("adapter_config.json"), config);
    SafetensorsWriter.write(
        folder.resolve("adapter_model.safetensors"),
        Map.of("format", "pt"),
        List.of(factor("A", in), factor("B", out)));
  }

  private static TensorSource factor(String name, List<Long> shape) {
    long bytes = SafetensorsType.F32.byteSize(shape);
    return TensorSource.of(
        "base_model.model." + MODULE + ".lora_" + name + ".weight",
        SafetensorsType.F32,
        shape,
        Arena.global().allocate(Math.max(bytes, 1)).asSlice(0, bytes));
  }

  private void assertRefused(String message) {
    assertThatThrownBy(() -> AdapterFiles.open(folder).close())
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(message)
        .hasMessageNotContaining("\n");
  }

  private void assertTaken(UnaryOperator<String> config, long rank) throws IOException {
    write(List.of(rank, 4L), List.of(6L, rank), config.apply(PLAIN));
    try (AdapterFiles files = AdapterFiles.open(folder)) {
      assertThat(files.changes(MODULE + ".weight")).isTrue();
    }
  }

  @Test
  void open_plainChange_isTaken() throws IOException {
    assertTaken(config -> config, 2);
  }

  @ParameterizedTest
  @ValueSource(strings = {"false", "\"gaussian\"", "\"eva\"", "\"orthogonal\"", "null"})
  void open_initialFactorsThatLeaveTheMatrices_areTaken(String way) throws IOException {
    assertTaken(config -> config.replace("weights\": true", "weights\": " + way), 2);
  }

  @Test
  void open_rankOfAPattern_isTheFactors() throws IOException {
    assertTaken(
        config -> config.replace("rank_pattern\": {}", "rank_pattern\": {\"q_proj\": 3}"), 3);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "\"peft_type\": \"LORA\" | \"peft_type\": \"LOHA\"",
        "\"bias\": \"none\" | \"bias\": \"all\"",
        "\"init_lora_weights\": true | \"init_lora_weights\": \"pissa\"",
        "\"init_lora_weights\": true | \"init_lora_weights\": \"pissa_niter_16\"",
        "\"init_lora_weights\": true | \"init_lora_weights\": \"olora\"",
        "\"init_lora_weights\": true | \"init_lora_weights\": \"loftq\"",
        "\"init_lora_weights\": true | \"init_lora_weights\": \"corda\"",
        "\"alora_invocation_tokens\": null | \"alora_invocation_tokens\": [1]",
        "\"alpha_pattern\": {} | \"alpha_pattern\": {\"q_proj\":3}",
        "\"arrow_config\": null | \"arrow_config\": {\"top_k\":2}",
        "\"layer_replication\": null | \"layer_replication\": [[0,4],[2,5]]",
        "\"lora_bias\": false | \"lora_bias\": true",
        "\"megatron_config\": null | \"megatron_config\": {\"a\":1}",
        "\"modules_to_save\": null | \"modules_to_save\": \"lm_head\"",
        "\"modules_to_save\": null | \"modules_to_save\": [\"lm_head\"]",
        "\"target_parameters\": null | \"target_parameters\": [\"experts\"]",
        "\"trainable_token_indices\": null | \"trainable_token_indices\": [3]",
        "\"use_dora\": false | \"use_dora\": true",
        "\"use_qalora\": false | \"use_qalora\": true",
        "\"revision\": null | \"of_tomorrow\": 1",
      })
  void open_fieldThatChangesMore_isRefusedByName(String plain, String other) throws IOException {
    assertThat(PLAIN).contains(plain);
    write(List.of(2L, 4L), List.of(6L, 2L), PLAIN.replace(plain, other));
    assertRefused(
        "adapter_config.json: %s is not supported; merge the adapter with the tool that made it"
            .formatted(other.replaceFirst("^\"(.*?)\"", "$1")));
  }

  @Test
  void open_noFactors_isRefused() throws IOException {
    Files.writeString(folder.resolve("adapter_config.json"), PLAIN);
    SafetensorsWriter.write(
        folder.resolve("adapter_model.safetensors"), Map.of("format", "pt"), List.of());
    assertRefused("adapter_model.safetensors: has no factors; copy the file again");
  }

  @Test
  void open_withoutType_isRefused() throws IOException {
    write(List.of(2L, 4L), List.of(6L, 2L), PLAIN.replace("\"LORA\"", "null"));
    assertRefused("adapter_config.json: peft_type is missing");
  }

  @ParameterizedTest
  @CsvSource({"0,4,6,0", "0,3000000000,6,0", "0,4,3000000000,0"})
  void open_factorsWithoutNumbers_areRefused(long rank, long in, long out, long other)
      throws IOException {
    write(List.of(rank, in), List.of(out, other), PLAIN);
    assertRefused(
        "tensor base_model.model.%s.lora_A.weight has shape [%d, %d]; a factor is a matrix"
            .formatted(MODULE, rank, in));
  }

  @ParameterizedTest
  @CsvSource({"2,3", "3,2", "3,3"})
  void open_factorsOfOtherRanks_areRefused(long in, long out) throws IOException {
    write(List.of(in, 4L), List.of(6L, out), PLAIN);
    assertRefused(
        "lora_A.weight has rank %d, its lora_B %d, adapter_config.json r 2".formatted(in, out));
  }
}
