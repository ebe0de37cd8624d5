package org.eellm.eval.sweep;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.eellm.config.ConfigException;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.junit.jupiter.api.Test;

final class SweepConditionsTest {
  private static SweepConditions ofContext(int context) {
    return new SweepConditions(0, 1, context);
  }

  @Test
  void all_severalValues_areEveryCombination() {
    assertThat(SweepConditions.all(List.of(0.0, 0.8), List.of(1, 8), List.of(0, 1000)))
        .hasSize(8)
        .doesNotHaveDuplicates()
        .startsWith(SweepConditions.USUAL)
        .endsWith(new SweepConditions(0.8, 8, 1000));
    assertThatThrownBy(() -> SweepConditions.all(List.of(-0.5), List.of(1), List.of(0)))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining("--temperatures, --batch-sizes, --contexts: -0.5, 1, 0; use at");
  }

  @Test
  void sampler_aboveTemperature0_hasASeedForEachText() {
    assertThat(SweepConditions.USUAL.sampler(3)).isEqualTo(Sampler.greedy());
    SweepConditions drawn = new SweepConditions(0.8, 1, 0);
    assertThat(drawn.sampler(3)).isEqualTo(new RandomSampler(0.8, 0, 1, 1, 3));
  }

  @Test
  void prompts_longerThanTheContext_areTheirLastTokensBehindTheStart() {
    assertThat(ofContext(3).prompts(List.of(List.of(9, 1, 2, 3, 4), List.of(9, 5, 6)), List.of(9)))
        .containsExactly(List.of(9, 3, 4), List.of(9, 5, 6));
    assertThat(ofContext(0).prompts(List.of(List.of(9, 1)), List.of(9)))
        .containsExactly(List.of(9, 1));
  }

  /** In front of a prompt stand the others, the one before it last. */
  @Test
  void prompts_shorterThanTheContext_standBehindOthers() {
    List<List<Integer>> given = List.of(List.of(1, 2), List.of(3, 4), List.of(5, 6));
    assertThat(ofContext(5).prompts(given, List.of()))
        .containsExactly(List.of(4, 5, 6, 1, 2), List.of(6, 1, 2, 3, 4), List.of(2, 3, 4, 5, 6));
    assertThatThrownBy(() -> ofContext(7).prompts(given, List.of()))
        .isInstanceOf(ConfigException.class)
        .hasMessage("--contexts: 7 tokens, of which the texts have 6; use fewer, or longer texts");
  }
}
