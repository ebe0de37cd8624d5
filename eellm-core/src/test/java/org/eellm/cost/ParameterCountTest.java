package org.eellm.cost;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigFile;
import org.eellm.config.ExitLayout;
import org.eellm.config.Experts;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.config.RunConfig;
import org.eellm.config.StageLayout;
import org.eellm.config.StageLayout.Slice;
import org.eellm.config.TuneConfig.Lora;
import org.eellm.config.TuneConfig.Projection;
import org.eellm.model.parameter.ParameterLayout;
import org.eellm.model.parameter.ParameterSpec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Against the names and shapes that models are allocated with. */
final class ParameterCountTest {
  private static final List<Learning> ALL =
      Stream.concat(
              Arrays.stream(Learning.Part.values()),
              Stream.of(
                  new Learning.Adapter(new Lora(3, 16, 0, Set.of())),
                  new Learning.Adapter(
                      new Lora(5, 16, 0, Set.of(Projection.Q_PROJ, Projection.DOWN_PROJ)))))
          .toList();

  private static final String SIZES =
      "model.vocab_size=64 model.hidden_size=16 model.num_layers=6 model.num_heads=4"
          + " model.ffn_hidden_size=32 exits.layers=[2,4] parallel.pp=2 parallel.chunks=3"
          + " parallel.tp=2 train.global_batch_size=8 ";

  @Test
  void held_experts_isWhatARankAllocates() {
    Architecture architecture =
        new Architecture(
            ModelConfig.builder()
                .vocabSize(64)
                .hiddenSize(16)
                .numLayers(4)
                .numHeads(4)
                .ffnHiddenSize(32)
                .maxPositions(8)
                .qkNormWhole(true)
                .experts(new Experts(6, 2, 12, true, List.of(2)))
                .build(),
            new ExitLayout(List.of(1, 3), true, true, true, false));
    for (Slice slice : StageLayout.whole(architecture).slices()) {
      for (int ranks : new int[] {1, 2}) {
        assertThat(ParameterCount.held(architecture, List.of(slice), ranks, Learning.EXITS))
            .isEqualTo(
                ParameterLayout.groups(architecture, List.of(slice), Learning.EXITS).stream()
                    .flatMap(List::stream)
                    .mapToLong(spec -> spec.shardNumel(ranks))
                    .sum());
      }
    }
    ParameterCount all = ParameterCount.of(architecture);
    assertThat(all.total())
        .isEqualTo(ParameterSpec.of(architecture).stream().mapToLong(ParameterSpec::numel).sum());
    assertThat(ParameterCount.active(architecture.model()))
        .isEqualTo(all.trunk() + all.finalHead() - 3 * 4 * 3 * 16 * 12);
  }

  /** 8 layers of 7 maps; a rank far beyond what {@code tune.lora.rank} takes. */
  @Test
  void learned_ofAHugeRank_doesNotOverflow() {
    Architecture architecture =
        ConfigFile.preset("30m", List.of("model.vocab_size=64")).architecture();
    long rank = 1 << 30;
    Learning learning =
        new Learning.Adapter(new Lora((int) rank, 16, 0, Set.of(Projection.Q_PROJ)));
    List<Slice> slices = StageLayout.whole(architecture).slices();
    assertThat(ParameterCount.learned(architecture, slices, 1, learning))
        .isEqualTo(8 * rank * (512 + 512));
  }

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
        for (Learning learning : ALL) {
          if (ranks > 1 && learning == Learning.DRAFT_HEAD) {
            continue; // which learns on ranks that have all of the model
          }
          assertThat(ParameterCount.held(architecture, here, ranks, learning))
              .as(learning.toString())
              .isEqualTo(
                  ParameterLayout.groups(architecture, here, learning).stream()
                      .flatMap(List::stream)
                      .mapToLong(spec -> spec.shardNumel(ranks))
                      .sum());
          assertThat(ParameterCount.learned(architecture, here, ranks, learning))
              .as("of %s", learning)
              .isEqualTo(
                  ParameterLayout.groups(architecture, here, learning).stream()
                      .flatMap(List::stream)
                      .filter(spec -> ParameterLayout.learns(spec.name(), learning))
                      .mapToLong(spec -> spec.shardNumel(ranks))
                      .sum());
        }
      }
    }
    long whole = ParameterSpec.of(architecture).stream().mapToLong(ParameterSpec::numel).sum();
    assertThat(ParameterCount.of(architecture).total()).isEqualTo(whole);
  }
}
