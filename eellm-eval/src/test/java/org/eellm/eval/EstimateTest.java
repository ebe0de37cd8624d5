package org.eellm.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

final class EstimateTest {

  @Test
  void mean_hasTheSampleStandardDeviationOverTheRootOfN() {
    Estimate estimate = Estimate.mean(new double[] {1, 2, 3, 4});

    assertThat(estimate.value()).isEqualTo(2.5);
    assertThat(estimate.standardError()).isCloseTo(Math.sqrt(5.0 / 3) / 2, within(1e-12));
  }

  @Test
  void text_ofASingleItem_hasNoError() {
    assertThat(Estimate.mean(new double[] {0.5}).text("%.2f"::formatted)).isEqualTo("0.50");
    assertThat(Estimate.mean(new double[] {0, 1}).text("%.2f"::formatted)).isEqualTo("0.50 ± 0.50");
  }

  @Test
  void ratio_singleItem_hasNoErrorWhateverIsRounded() {
    for (int i = 1; i < 1000; i++) {
      Estimate estimate = Estimate.ratio(new double[] {i / 7.0}, new double[] {i / 3.0 + 1});

      assertThat(estimate.standardError()).isNaN();
      assertThat(estimate.error()).isZero();
    }
  }

  @Test
  void ratio_isOffByAsMuchAsItsErrorSays() {
    Random random = new Random(4);
    int n = 200;
    int trials = 2000;
    double[] ratios = new double[trials];
    double errors = 0;
    for (int trial = 0; trial < trials; trial++) {
      double[] weights = random.doubles(n, 1, 9).toArray();
      double[] values =
          IntStream.range(0, n).mapToDouble(i -> 2 * weights[i] + random.nextGaussian()).toArray();
      Estimate estimate = Estimate.ratio(values, weights);
      ratios[trial] = estimate.value();
      errors += estimate.standardError() / trials;
    }
    double mean = IntStream.range(0, trials).mapToDouble(i -> ratios[i]).average().orElseThrow();
    double spread =
        Math.sqrt(
            IntStream.range(0, trials)
                .mapToDouble(i -> (ratios[i] - mean) * (ratios[i] - mean))
                .average()
                .orElseThrow());

    assertThat(mean).isCloseTo(2, within(0.01));
    assertThat(errors).isCloseTo(spread, within(0.05 * spread));
  }
}
