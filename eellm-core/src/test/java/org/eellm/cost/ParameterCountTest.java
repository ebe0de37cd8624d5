package org.eellm.cost;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigFile;
import org.eellm.config.Learning;
import org.eellm.config.RunConfig;
import org.eellm.config.StageLayout.Slice;
import org.eellm.model.parameter.ParameterLayout;
import org.eellm.model.parameter.ParameterSpec;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Against the names and shapes that models are allocated with. */
final class ParameterCountTest {
  private static final String SIZES =
      "model.vocab_size=64 model.hidden_size=16 model.num_layers=6 model.num_heads=4"
          + " model.ffn_hidden_size=32 exits.layers=[2,4] parallel.pp=2 parallel.chunks=3"
          + " parallel.tp=2 train.global_batch_size=8 ";

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "model.tie_embeddings=false exits.tie_output=false",
        "exits.tie_output=false exits.head=[mlp,block,norm]",
        "model.linear_bias=true model.normalization=layernorm model.activation=gelu"
            + " model.position_embedding=learned exits.head=[block]",
        "model.qkv_bias=true model.qk_norm=true model.num_key_value_heads=2 exits.head=[]",
        "parallel.pre_exit=true exits.head=[norm]",
      })
  void held_anyArchitecture_isWhatARankAllocates(String more) {
    RunConfig config = ConfigFile.preset("30m", List.of((SIZES + more).strip().split(" ")));
    Architecture architecture = config.architecture();
    List<Slice> slices = config.stageLayout().slices();
    for (int stage = 0; stage < 2; stage++) {
      List<Slice> here = List.of(slices.get(stage), slices.get(stage + 2), slices.get(stage + 4));
      for (int ranks : new int[] {1, 2}) {
        for (Learning learning : Learning.values()) {
          assertThat(ParameterCount.held(architecture, here, ranks, learning))
              .as(learning.name())
              .isEqualTo(
                  ParameterLayout.groups(architecture, here, learning).stream()
                      .flatMap(List::stream)
                      .mapToLong(spec -> spec.shardNumel(ranks))
                      .sum());
        }
      }
    }
    long whole = ParameterSpec.of(architecture).stream().mapToLong(ParameterSpec::numel).sum();
    assertThat(ParameterCount.of(architecture).total()).isEqualTo(whole);
  }
}
