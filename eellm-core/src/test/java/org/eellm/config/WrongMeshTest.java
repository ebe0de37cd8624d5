package org.eellm.config;

import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Meshes that cannot share out a model or a batch are refused when the configuration is read,
 * before any rank starts; the message has the numbers, and what it proposes is accepted.
 */
final class WrongMeshTest {
  private static final List<String> MODEL =
      List.of(
          "model.vocab_size=96",
          "model.hidden_size=48",
          "model.num_layers=4",
          "model.num_heads=6",
          "model.num_key_value_heads=3",
          "model.ffn_hidden_size=120",
          "exits.layers=[2]",
          "data.sequence_length=15",
          "train.micro_batch_size=1",
          "train.global_batch_size=12");

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "parallel.tp=4"
            + "|parallel.tp: 4 does not divide model.num_heads 6; use 1, 3"
            + "|parallel.tp=3",
        "parallel.tp=2"
            + "|parallel.tp: 2 does not divide model.num_key_value_heads 3; use 1"
            + "|parallel.tp=1",
        "parallel.tp=3 model.ffn_hidden_size=128"
            + "|parallel.tp: 3 does not divide model.ffn_hidden_size 128; use 1"
            + "|parallel.tp=1",
        "parallel.tp=3 model.vocab_size=128"
            + "|parallel.tp: 3 does not divide model.vocab_size 128; use 1"
            + "|parallel.tp=1",
        "parallel.tp=3 parallel.sequence_parallel=true data.sequence_length=16"
            + "|parallel.sequence_parallel: 16 tokens (train.micro_batch_size 1 x"
            + " data.sequence_length 16) cannot be shared by tp 3; use 15 or 18"
            + "|data.sequence_length=15",
        "parallel.sequence_parallel=true"
            + "|parallel.sequence_parallel: has no effect with parallel.tp 1; remove it or use tp"
            + " 2 or more"
            + "|parallel.tp=3",
        "parallel.pp=8"
            + "|parallel.pp: 8 stages x 1 chunks are more than the model's 4 layers; use at most pp"
            + " 4 with chunks 1"
            + "|parallel.pp=4",
        "parallel.pp=3 parallel.chunks=2"
            + "|parallel.pp: 3 stages x 2 chunks are more than the model's 4 layers; use at most pp"
            + " 4 with chunks 1"
            + "|parallel.pp=4 parallel.chunks=1",
        "parallel.pp=2 parallel.layers_per_stage=[1,2]"
            + "|parallel.layers_per_stage: [1, 2] adds up to 3, but the model has 4 layers; give"
            + " it 4, such as [2, 2]"
            + "|parallel.layers_per_stage=[2,2]",
        "parallel.pp=2 parallel.layers_per_stage=[1,1,2]"
            + "|parallel.layers_per_stage: [1, 1, 2] has 3 entries for 2 virtual stages (pp 2 x"
            + " chunks 1); give one for each"
            + "|parallel.layers_per_stage=[1,3]",
        "parallel.pp=2 exits.layers=[5]"
            + "|exits.layers: 5 is beyond the model's 4 layers; use 1..4"
            + "|exits.layers=[4]",
        "parallel.pp=2 parallel.pre_exit=true exits.head=[mlp,norm]"
            + "|parallel.pre_exit: an exit with a branch MLP (exits.head mlp) takes the place of"
            + " its layer's MLP and cannot leave its stage; remove one of them"
            + "|exits.head=[norm]",
        "parallel.pp=2 parallel.chunks=2 train.global_batch_size=5"
            + "|train.global_batch_size: 5 is not a multiple of 2 (train.micro_batch_size 1 x"
            + " parallel.dp 1 x parallel.pp 2, for chunks); use 4 or 6"
            + "|train.global_batch_size=4",
        "parallel.dp=8"
            + "|train.global_batch_size: 12 is not a multiple of 8 (train.micro_batch_size 1 x"
            + " parallel.dp 8); use 8 or 16"
            + "|train.global_batch_size=16",
        "parallel.chunks=2|parallel.chunks: 2 needs more than one stage; use parallel.pp 2 or more,"
            + " or chunks 1|parallel.pp=2",
        "parallel.pp=2 parallel.chunks=2 parallel.schedule=all_forward_all_backward"
            + "|parallel.chunks: 2 are interleaved with parallel.schedule"
            + " one_forward_one_backward only"
            + "|parallel.schedule=one_forward_one_backward",
        "parallel.schedule=zero_bubble"
            + "|parallel.schedule: zero_bubble has no effect with parallel.pp 1; remove it or use"
            + " pp 2 or more"
            + "|parallel.pp=2",
        "parallel.pp=2 parallel.schedule=zero_bubble parallel.fill_warmup=1"
            + "|parallel.fill_warmup, fill_cooldown: fill the bubbles of schedule"
            + " one_forward_one_backward with pp 2 or more and chunks 1; use 0 otherwise"
            + "|parallel.fill_warmup=0",
        "parallel.pp=2 parallel.schedule=zero_bubble tune.model=m"
            + "|parallel.schedule: zero_bubble puts off gradients of layers, which do not learn"
            + " with tune.model; use one_forward_one_backward"
            + "|parallel.schedule=one_forward_one_backward",
        "parallel.pp=2 parallel.chunks=2 parallel.fill_warmup=1"
            + "|parallel.fill_warmup, fill_cooldown: fill the bubbles of schedule"
            + " one_forward_one_backward with pp 2 or more and chunks 1; use 0 otherwise"
            + "|parallel.chunks=1",
        "parallel.pp=0|parallel.pp: 0 is below 1; use 1 or more|parallel.pp=1",
      })
  void read_meshThatCannotBe_isRefusedWithOneThatCan(
      String settings, String message, String remedy) {
    assertThatThrownBy(() -> ConfigFile.preset("30m", overrides(settings)))
        .isInstanceOf(ConfigException.class)
        .hasMessageEndingWith(message);
    assertThatCode(() -> ConfigFile.preset("30m", overrides(settings + " " + remedy)))
        .doesNotThrowAnyException();
  }

  private static List<String> overrides(String settings) {
    return Stream.concat(
            Stream.concat(MODEL.stream(), Stream.of("exits.weights=[1]")),
            Stream.of(settings.split(" ", -1)))
        .toList();
  }
}
