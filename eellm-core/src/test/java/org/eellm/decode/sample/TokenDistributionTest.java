package org.eellm.decode.sample;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.eellm.decode.HeadOutputs;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("vectors")
final class TokenDistributionTest {
  private static final int VOCABULARY = 2500; // more than are marked at once

  /** Logits many of which are equal, some of them very low. */
  private static float[] logits(int seed) {
    Random random = new Random(seed);
    float[] logits = new float[VOCABULARY];
    for (int id = 0; id < VOCABULARY; id++) {
      logits[id] = random.nextInt(9) == 0 ? -300 : Math.round(random.nextGaussian() * 12) / 4f;
    }
    return logits;
  }

  @ParameterizedTest
  @CsvSource({
    "1.0, 0, 1.0, 0.0",
    "0.7, 0, 1.0, 0.0",
    "1.0, 1, 1.0, 0.0",
    "1.0, 40, 1.0, 0.0",
    "1.0, 2499, 1.0, 0.0",
    "1.3, 0, 0.9, 0.0",
    "1.0, 0, 0.05, 0.0",
    "1.0, 0, 1e-300, 0.0",
    "30.0, 0, 0.5, 0.0",
    "30.0, 0, 0.9999999999999999, 0.0",
    "1.0, 50, 0.6, 0.0",
    "2.0, 0, 1.0, 0.1",
    "1.5, 300, 0.95, 0.05"
  })
  void probability_limits_isThatOfTheDefinition(
      double temperature, int topK, double topP, double minP) {
    TokenDistribution reused = new TokenDistribution();
    for (int seed = 0; seed < 10; seed++) {
      float[] logits = logits(seed);
      double[] expected = definition(logits, temperature, topK, topP, minP);

      reused.fill(logits, temperature, topK);
      reused.topP(topP).minP(minP);

      for (int id = 0; id < VOCABULARY; id++) {
        assertThat(reused.probability(id)).isCloseTo(expected[id], within(1e-5 * expected[id]));
      }
    }
  }

  /** By sorting all ids. */
  private static double[] definition(
      float[] logits, double temperature, int topK, double topP, double minP) {
    double largest = logits[TokenDistribution.best(logits)];
    double[] weights = new double[VOCABULARY];
    List<Integer> ids =
        IntStream.range(0, VOCABULARY)
            .boxed()
            .sorted(Comparator.comparingDouble(id -> -logits[id]))
            .limit(topK == 0 ? VOCABULARY : topK)
            .toList();
    ids.forEach(id -> weights[id] = Math.exp((logits[id] - largest) / temperature));
    double total = IntStream.range(0, VOCABULARY).mapToDouble(id -> weights[id]).sum();
    double cumulated = 0;
    double kept = 0;
    for (int id : ids) {
      boolean stays = (cumulated < topP * total || topP == 1) && weights[id] >= minP;
      cumulated += weights[id];
      weights[id] = stays && weights[id] > 1e-37 ? weights[id] : 0;
      kept += weights[id];
    }
    for (int id = 0; id < VOCABULARY; id++) {
      weights[id] /= kept;
    }
    return weights;
  }

  @Test
  void first_manyTokens_comesAsOftenAsItIsProbable() {
    float[] logits = HeadOutputs.logits(0.5, 0.3, 0.15, 0.05);
    int draws = 100_000;
    int[] counts = new int[4];

    for (int position = 0; position < draws; position++) {
      counts[TokenDistribution.of(logits, 1, 0).sample(SamplingNoise.at(7, position))]++;
    }

    double chiSquare = 0;
    for (int id = 0; id < 4; id++) {
      double expected = draws * TokenDistribution.of(logits, 1, 0).probability(id);
      chiSquare += (counts[id] - expected) * (counts[id] - expected) / expected;
    }
    assertThat(chiSquare).isLessThan(16.27); // once in a thousand times, three degrees of freedom
  }

  @ParameterizedTest
  @CsvSource({"0.3, 0, 1.0", "0.8, 0, 1.0", "1.5, 0, 1.0", "4.0, 0, 1.0", "1.0, 60, 0.9"})
  void first_anyDistribution_isTheShortestOfAllTimes(double temperature, int topK, double topP) {
    for (int position = 0; position < 500; position++) {
      TokenDistribution distribution =
          TokenDistribution.of(logits(position % 20), temperature, topK).topP(topP);
      SamplingNoise noise = SamplingNoise.at(3, position);

      int shortest =
          IntStream.range(0, VOCABULARY)
              .boxed()
              .min(
                  Comparator.comparingDouble(
                      id -> noise.exponential(id) / distribution.probability(id)))
              .orElseThrow();

      assertThat(distribution.sample(noise)).isEqualTo(shortest);
    }
  }

  @ParameterizedTest
  @CsvSource({"0.3, 0, 1.0", "0.8, 0, 1.0", "4.0, 0, 1.0", "1.0, 60, 0.9"})
  void choose_anyDistribution_tellsHowMuchLongerTheSecondWaits(
      double temperature, int topK, double topP) {
    for (int position = 0; position < 200; position++) {
      TokenDistribution distribution =
          TokenDistribution.of(logits(position % 20), temperature, topK).topP(topP);
      SamplingNoise noise = SamplingNoise.at(3, position);
      double[] times =
          IntStream.range(0, VOCABULARY)
              .mapToDouble(id -> noise.exponential(id) / distribution.probability(id))
              .sorted()
              .toArray();

      Sampler.Choice choice = distribution.choose(noise);

      assertThat(choice.id()).isEqualTo(distribution.sample(noise));
      double ratio = times[0] / times[1];
      assertThat(choice.margin()).isCloseTo(ratio < 1.0 / 16 ? 1 : 1 - ratio, within(1e-5));
    }
  }

  @Test
  void choose_oneId_hasTheWholeMargin() {
    assertThat(TokenDistribution.of(logits(1), 1, 1).choose(SamplingNoise.at(3, 1)).margin())
        .isEqualTo(1);
  }

  @ParameterizedTest
  @CsvSource({"40", "64", "4096", "50257"})
  void favored_anyVocabulary_areTheLeastNumbers(int vocabulary) {
    int count = 0;
    for (int position = 0; position < 50; position++) {
      SamplingNoise noise = SamplingNoise.at(3, position);
      int[] favored = noise.favored(vocabulary);
      count += favored.length;
      double most = IntStream.of(favored).mapToDouble(noise::uniform).max().orElse(0);
      assertThat(favored)
          .containsExactly(
              IntStream.range(0, vocabulary).filter(id -> noise.uniform(id) <= most).toArray());
    }
    assertThat(count / 50.0).isBetween(Math.min(vocabulary, 29.0), 66.0);
  }

  @Test
  void first_impossibleIds_neverCome() {
    float[] logits = {-1000, 1, -1000, 1};

    for (int position = 0; position < 1000; position++) {
      assertThat(TokenDistribution.of(logits, 1, 0).sample(SamplingNoise.at(7, position)))
          .isIn(1, 3);
    }
  }

  @Test
  void first_alikeDistributions_mostlyAgree() {
    float[] one = HeadOutputs.logits(0.5, 0.3, 0.15, 0.05);
    float[] other = HeadOutputs.logits(0.45, 0.35, 0.15, 0.05);
    int same = 0;

    for (int position = 0; position < 10_000; position++) {
      SamplingNoise noise = SamplingNoise.at(7, position);
      same +=
          TokenDistribution.of(one, 1, 0).sample(noise)
                  == TokenDistribution.of(other, 1, 0).sample(noise)
              ? 1
              : 0;
    }

    // They differ by 0.05: at least (1 - 0.05) / (1 + 0.05) agree.
    assertThat(same).isBetween(9_048, 9_600);
  }

  @ParameterizedTest
  @ValueSource(doubles = {Double.MIN_VALUE, 1e-30, 1e-9})
  void sample_nextToNoTemperature_isTheBest(double temperature) {
    float[] logits = logits(1);
    logits[40] = Float.NEGATIVE_INFINITY;
    logits[1700] = 100;
    TokenDistribution distribution = TokenDistribution.of(logits, temperature, 0).topP(0.9);
    for (int position = 0; position < 50; position++) {
      assertThat(distribution.sample(SamplingNoise.at(5, position))).isEqualTo(1700);
    }
    assertThat(distribution.probability(1700)).isEqualTo(1);
  }

  @Test
  void sample_hugeTemperature_drawsFromAllThatAreNotRuledOut() {
    float[] logits = {1, Float.NEGATIVE_INFINITY, 2};
    TokenDistribution distribution = TokenDistribution.of(logits, Double.MAX_VALUE, 0);

    assertThat(
            IntStream.range(0, 50)
                .map(position -> distribution.sample(SamplingNoise.at(5, position))))
        .containsOnly(0, 2);
    assertThat(distribution.probability(2)).isEqualTo(0.5);
  }

  @ParameterizedTest
  @ValueSource(doubles = {0, 1})
  void sample_bestIdBehindOneOfTheSameWeight_isTheOneThatStays(double minP) {
    float[] logits = {0, Math.nextDown(10f), 10}; // whose weight at this temperature is 1, too
    TokenDistribution distribution = TokenDistribution.of(logits, 40, 0).topP(0.01).minP(minP);

    assertThat(distribution.sample(SamplingNoise.at(5, 1))).isEqualTo(1);

    assertThat(distribution.probability(1)).isEqualTo(1);
    assertThat(distribution.probability(2)).isZero();
  }

  /** One instance is used for all tokens of a thread. */
  @Test
  void fill_otherSizesLimitsAndNamesBefore_isThatOfANewOne() {
    TokenDistribution reused = new TokenDistribution();
    int[] names = IntStream.range(0, 40).map(place -> 3 * place + 1).toArray();
    for (int round = 0; round < 60; round++) {
      Random random = new Random(round);
      boolean named = random.nextInt(3) == 0;
      int size = 1 + random.nextInt(named ? names.length : VOCABULARY);
      float[] logits = Arrays.copyOf(logits(round), size);
      int topK = random.nextInt(3) == 0 ? 1 + random.nextInt(50) : 0;
      double topP = random.nextBoolean() ? 0.8 : 1;
      TokenDistribution fresh = new TokenDistribution();
      for (TokenDistribution each : List.of(reused, fresh)) {
        each.fill(logits, 1.3, topK);
        each.mapIds(named ? names : new int[0]);
        each.topP(topP);
      }

      for (int position = 0; position < 20; position++) {
        SamplingNoise noise = SamplingNoise.at(round, position);
        assertThat(reused.sample(noise)).isEqualTo(fresh.sample(noise));
      }
      for (int id = 0; id < 200; id++) {
        assertThat(reused.probability(id)).isEqualTo(fresh.probability(id));
      }
    }
  }

  @Test
  void fill_noLargestLogit_isRefused() {
    assertThatThrownBy(() -> TokenDistribution.of(new float[] {1, Float.POSITIVE_INFINITY}, 1, 0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("of 2 numbers none is finite and the largest");
    assertThatThrownBy(() -> TokenDistribution.of(new float[0], 1, 0))
        .isInstanceOf(RuntimeException.class);
  }
}
