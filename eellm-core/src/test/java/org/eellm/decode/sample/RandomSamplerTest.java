package org.eellm.decode.sample;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.eellm.decode.HeadOutputs.logits;
import static org.eellm.decode.HeadOutputs.prediction;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.eellm.config.ConfigException;
import org.eellm.decode.token.Tokens;
import org.eellm.tensor.Scope;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class RandomSamplerTest {
  private static final int DRAWS = 4000;

  /** How often each id comes at positions 1 to {@link #DRAWS}. */
  private static double[] frequencies(RandomSampler sampler, float... logits) {
    double[] counts = new double[logits.length];
    Tokens tokens = new Tokens(List.of(), DRAWS + 1);
    try (Scope _ = Scope.open()) {
      for (int i = 0; i < DRAWS; i++) {
        tokens.append(0);
        counts[sampler.next(prediction(tokens, List.of(), logits))]++;
      }
    }
    return Arrays.stream(counts).map(count -> count / DRAWS).toArray();
  }

  @Test
  void takesBest_onlyWhereTheBestIdIsTaken() {
    SamplingParams best = SamplingParams.AS_PREDICTED.with(SamplingSetting.TEMPERATURE, 0);
    assertThat(new RandomSampler(best, 1).takesBest()).isTrue();
    assertThat(new RandomSampler(best.withMinTokens(new MinTokens(0, Set.of(7))), 1))
        .matches(Sampler::takesBest);
    for (SamplingParams other :
        List.of(
            SamplingParams.AS_PREDICTED,
            best.with(SamplingSetting.PRESENCE_PENALTY, 0.5),
            best.withLogitBias(Map.of(3, 1.0)),
            best.withMinTokens(new MinTokens(2, Set.of(7))))) {
      assertThat(new RandomSampler(other, 1).takesBest()).as("%s", other).isFalse();
    }
    assertThat(Sampler.greedy().takesBest()).isTrue();
    assertThat(Sampler.ofAllIds(Sampler.greedy()).takesBest()).isFalse();
  }

  @Test
  void next_temperatureZero_isTheBest() {
    try (Scope _ = Scope.open()) {
      assertThat(new RandomSampler(0, 0, 1, 1, 3).next(prediction(0.1f, 2f, 1.9f))).isEqualTo(1);
    }
  }

  @Test
  void choose_temperatureZero_leadsByProbabilitiesAfterPenalties() {
    try (Scope _ = Scope.open()) {
      float[] logits = logits(0.5, 0.3, 0.2);
      SamplingParams best = SamplingParams.AS_PREDICTED.with(SamplingSetting.TEMPERATURE, 0);

      Sampler.Choice plain = new RandomSampler(best, 3).choose(prediction(logits));
      Sampler.Choice biased =
          new RandomSampler(best.withLogitBias(Map.of(1, Math.log(3))), 3)
              .choose(prediction(logits));

      assertThat(plain.id()).isZero();
      assertThat(plain.margin()).isCloseTo(1 - 0.3 / 0.5, within(1e-6));
      assertThat(biased.id()).isEqualTo(1);
      assertThat(biased.margin()).isCloseTo(1 - 0.5 / 0.9, within(1e-6));
      assertThat(Sampler.greedy().choose(prediction(logits))).isEqualTo(plain);
    }
  }

  /** What is chosen of all ids is mostly among the favored ones where all are alike. */
  @Test
  void choose_temperatureOne_isAmongFavoredIdsOfAFlatDistribution() {
    RandomSampler sampler = new RandomSampler(1, 0, 1, 1, 5);
    int favored = 0;
    try (Scope _ = Scope.open()) {
      for (int i = 0; i < 50; i++) {
        Tokens tokens = new Tokens(IntStream.range(0, i + 1).boxed().toList(), 51);
        Sampler.Choice choice = sampler.choose(prediction(tokens, List.of(), new float[1000]));
        favored +=
            IntStream.of(sampler.favored(tokens.size(), 1000)).anyMatch(id -> id == choice.id())
                ? 1
                : 0;
      }
    }
    assertThat(favored).isEqualTo(50);
    assertThat(sampler.favored(7, 1000))
        .hasSizeBetween(10, 100)
        .isNotEqualTo(sampler.favored(8, 1000));
    assertThat(Sampler.ofAllIds(sampler).favored(7, 1000)).isEqualTo(sampler.favored(7, 1000));
    assertThat(new RandomSampler(0, 0, 1, 1, 5).favored(7, 1000)).isEmpty();
  }

  /** A sampler that may choose another id than the most probable one says nothing of a margin. */
  @Test
  void choose_otherSampler_leadsWhereItTakesTheBest() {
    try (Scope _ = Scope.open()) {
      float[] logits = logits(0.5, 0.3, 0.2);
      Sampler second = prediction -> 1;
      Sampler first = prediction -> 0;

      assertThat(second.choose(prediction(logits))).isEqualTo(new Sampler.Choice(1, 0));
      assertThat(first.choose(prediction(logits)).margin()).isCloseTo(0.4, within(1e-6));
    }
  }

  @Test
  void next_temperatureOne_followsTheDistribution() {
    double[] seen = frequencies(new RandomSampler(1, 0, 1, 1, 5), logits(0.5, 0.3, 0.15, 0.05));

    assertThat(seen).containsExactly(new double[] {0.5, 0.3, 0.15, 0.05}, within(0.03));
  }

  @Test
  void next_lowTemperature_sharpensTheDistribution() {
    // Halving the temperature squares the probabilities: 0.36, 0.09, 0.01 of 0.46.
    double[] seen = frequencies(new RandomSampler(0.5, 0, 1, 1, 5), logits(0.6, 0.3, 0.1));

    assertThat(seen)
        .containsExactly(new double[] {0.36 / 0.46, 0.09 / 0.46, 0.01 / 0.46}, within(0.03));
  }

  @Test
  void next_topK_drawsOfTheBestOnly() {
    double[] seen = frequencies(new RandomSampler(1, 2, 1, 1, 5), logits(0.1, 0.5, 0.15, 0.25));

    assertThat(seen).containsExactly(new double[] {0, 2.0 / 3, 0, 1.0 / 3}, within(0.03));
  }

  @Test
  void next_topP_drawsOfTheFewestThatReachIt() {
    double[] seen = frequencies(new RandomSampler(1, 0, 0.6, 1, 5), logits(0.1, 0.5, 0.15, 0.25));

    assertThat(seen).containsExactly(new double[] {0, 2.0 / 3, 0, 1.0 / 3}, within(0.03));
  }

  @Test
  void next_tinyTopP_drawsTheBestAlways() {
    assertThat(frequencies(new RandomSampler(1, 0, 1e-9, 1, 5), logits(0.4, 0.6)))
        .containsExactly(0, 1);
  }

  @Test
  void next_topKThenTopP_countsWithinTheBestK() {
    // Of the best two, 0.5 and 0.25, the first alone has two thirds.
    double[] seen = frequencies(new RandomSampler(1, 2, 0.6, 1, 5), logits(0.1, 0.5, 0.15, 0.25));

    assertThat(seen).containsExactly(0, 1, 0, 0);
  }

  @Test
  void next_repetitionPenalty_weakensSeenIdsWhateverTheirSign() {
    RandomSampler sampler = new RandomSampler(0, 0, 1, 1.5, 0);
    try (Scope _ = Scope.open()) {
      Tokens seen0 = new Tokens(List.of(0, 0), 2);
      assertThat(sampler.next(prediction(seen0, List.of(), 2.0f, 1.5f))).isEqualTo(1);
      assertThat(sampler.next(prediction(seen0, List.of(), 2.0f, 1.3f))).isEqualTo(0);
      assertThat(sampler.next(prediction(seen0, List.of(), -1.0f, -1.4f))).isEqualTo(1);
      assertThat(sampler.next(prediction(seen0, List.of(), -1.0f, -1.6f))).isEqualTo(0);
    }
  }

  private static RandomSampler greedy(Penalties penalties, Map<Integer, Double> bias) {
    return new RandomSampler(
        new SamplingParams(0, 0, 1, 0, penalties, bias, MinTokens.NONE, null), 0);
  }

  @Test
  void next_minP_drawsOfThoseThatAreProbableEnough() {
    RandomSampler sampler =
        new RandomSampler(SamplingParams.AS_PREDICTED.with(SamplingSetting.MIN_P, 0.4), 5);

    assertThat(frequencies(sampler, logits(0.1, 0.5, 0.15, 0.25)))
        .containsExactly(new double[] {0, 2.0 / 3, 0, 1.0 / 3}, within(0.03));
  }

  @Test
  void next_presenceAndFrequencyPenalty_countTheGeneratedTextAlone() {
    Tokens tokens = new Tokens(List.of(1, 1, 1), 9);
    tokens.append(0);
    tokens.append(0);
    try (Scope _ = Scope.open()) {
      RandomSampler presence = greedy(new Penalties(1, 0.5, 0), Map.of());
      assertThat(presence.next(prediction(tokens, List.of(), 2.0f, 1.6f))).isEqualTo(1);
      assertThat(presence.next(prediction(tokens, List.of(), 2.0f, 1.4f))).isEqualTo(0);
      RandomSampler frequency = greedy(new Penalties(1, 0, 0.5), Map.of());
      assertThat(frequency.next(prediction(tokens, List.of(), 2.0f, 1.1f))).isEqualTo(1);
      assertThat(frequency.next(prediction(tokens, List.of(), 2.0f, 0.9f))).isEqualTo(0);
    }
  }

  @Test
  void next_logitBias_isAddedAlsoWithoutTemperature() {
    try (Scope _ = Scope.open()) {
      RandomSampler sampler = greedy(Penalties.NONE, Map.of(1, 0.5, 99, 100.0));
      assertThat(sampler.next(prediction(2.0f, 1.6f))).isEqualTo(1);
      assertThat(sampler.next(prediction(2.0f, 1.4f))).isEqualTo(0);
    }
    RandomSampler banning =
        new RandomSampler(SamplingParams.AS_PREDICTED.withLogitBias(Map.of(1, -1000.0)), 5);
    assertThat(frequencies(banning, logits(0.25, 0.5, 0.25))[1]).isZero();
  }

  @Test
  void next_sameSeedAndPosition_isTheSameAndAnotherSeedIsNot() {
    float[] even = new float[1000];
    List<Integer> first = text(new RandomSampler(1, 0, 1, 1, 11), even);

    assertThat(text(new RandomSampler(1, 0, 1, 1, 11), even)).isEqualTo(first);
    assertThat(text(new RandomSampler(1, 0, 1, 1, 12), even)).isNotEqualTo(first);
    assertThat(first.stream().distinct().count()).isGreaterThan(15);
  }

  private static List<Integer> text(RandomSampler sampler, float[] logits) {
    try (Scope _ = Scope.open()) {
      return IntStream.range(0, 20)
          .map(
              position ->
                  sampler.next(
                      prediction(
                          new Tokens(IntStream.range(0, position).boxed().toList(), position),
                          List.of(),
                          logits)))
          .boxed()
          .toList();
    }
  }

  @Test
  void constructors_impossibleFurtherSettings_areRefusedByName() {
    assertThatThrownBy(() -> SamplingParams.AS_PREDICTED.with(SamplingSetting.MIN_P, 1.5))
        .isInstanceOf(ConfigException.class)
        .hasMessage("min-p: 1.5 is outside [0, 1]; 0 is no limit");
    assertThatThrownBy(() -> SamplingParams.AS_PREDICTED.withLogitBias(Map.of(-1, 1.0)))
        .isInstanceOf(ConfigException.class)
        .hasMessage("logit-bias: -1 is no token id; use 0 or more");
    assertThatThrownBy(() -> new Penalties(1, Double.NaN, 0))
        .isInstanceOf(ConfigException.class)
        .hasMessage("presence-penalty: NaN is no number from -1e9 to 1e9; 0 is none");
  }

  @ParameterizedTest
  @CsvSource({
    "-1, 0, 1, 1, temperature: -1.0 is negative",
    "NaN, 0, 1, 1, temperature: NaN",
    "1, -2, 1, 1, top-k: -2 is negative",
    "1, 0, 0, 1, top-p: 0.0 is outside",
    "1, 0, 1.5, 1, top-p: 1.5 is outside",
    "1, 0, 1, 0, repetition-penalty: 0.0 is no number from 1e-9 to 1e9",
  })
  void constructor_impossibleSetting_isRefusedByName(
      double temperature, int topK, double topP, double penalty, String message) {
    assertThatThrownBy(() -> new RandomSampler(temperature, topK, topP, penalty, 0))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining(message);
  }
}
