package org.eellm.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.List;
import java.util.OptionalDouble;
import java.util.Random;
import org.eellm.config.ConfigException;
import org.junit.jupiter.api.Test;

final class LearnThenTestTest {

  @Test
  void inLogOdds_thresholds_areDenseNearOne() {
    List<Double> thresholds = LearnThenTest.inLogOdds(0.1, 0.1, 20).thresholds();

    assertThat(thresholds).hasSize(21).startsWith(0.9999, 0.9998, 0.9997).endsWith(0.2689);
    assertThat(thresholds.get(10)).isEqualTo(0.982);
  }

  /** 100 texts without loss: the smaller of (1 - delta)^n and e (1 - delta)^n. */
  @Test
  void pValue_withoutLoss_isKnownInClosedForm() {
    LearnThenTest test = LearnThenTest.inSteps(0.05, 0.05, 100);

    assertThat(test.pValue(new double[100])).isCloseTo(Math.pow(0.95, 100), within(1e-12));
    assertThat(test.pValue(new double[] {0.1, 0.1})).isEqualTo(1);
    assertThat(test.minTexts()).isEqualTo(59);
    assertThat(test.pValue(new double[58])).isGreaterThan(0.05);
    assertThat(test.pValue(new double[59])).isLessThan(0.05);
  }

  @Test
  void threshold_dataThatCannotSupportThePromise_isNone() {
    LearnThenTest test = LearnThenTest.inSteps(0.05, 0.05, 100);

    assertThat(test.threshold(threshold -> new double[58])).isEmpty();
    assertThat(test.threshold(threshold -> new double[59])).isEqualTo(OptionalDouble.of(0));
  }

  /**
   * Losses whose expectation at each threshold is known: 0.2 (1 - t). The guarantee 0.05 holds down
   * to the threshold 0.75.
   */
  @Test
  void threshold_overManyDraws_breaksThePromiseInAtMostItsShare() {
    LearnThenTest test = LearnThenTest.inSteps(0.05, 0.1, 100);
    int broken = 0;
    int found = 0;
    int draws = 400;
    for (int draw = 0; draw < draws; draw++) {
      Random random = new Random(draw);
      double[] texts = random.doubles(300).toArray();
      double[] sizes = random.doubles(300, 0, 0.4).toArray();
      OptionalDouble threshold =
          test.threshold(
              t -> {
                double[] losses = new double[texts.length];
                for (int i = 0; i < losses.length; i++) {
                  losses[i] = texts[i] < 1 - t ? sizes[i] : 0;
                }
                return losses;
              });
      found += threshold.isPresent() ? 1 : 0;
      broken += threshold.isPresent() && 0.2 * (1 - threshold.getAsDouble()) > 0.05 + 1e-9 ? 1 : 0;
    }

    assertThat(found).isEqualTo(draws);
    assertThat(broken).isLessThanOrEqualTo(draws / 10);
  }

  /**
   * Each text is lost or not, with the chance 0.1005 below the threshold 0.5 and not at all above
   * it: so low a chance above delta is what the test has the greatest trouble to tell from one
   * below. To look at the mean alone is far from enough.
   */
  @Test
  void threshold_whereThePromiseIsJustBroken_isTakenInAtMostItsShareOfDraws() {
    double delta = 0.1;
    LearnThenTest test = new LearnThenTest(delta, 0.2, List.of(0.75, 0.25));
    int draws = 2000;
    int broken = 0;
    int brokenByMean = 0;
    for (int draw = 0; draw < draws; draw++) {
      double[] lost =
          new Random(draw).doubles(400).map(chance -> chance < delta + 0.0005 ? 1 : 0).toArray();
      OptionalDouble found = test.threshold(t -> t < 0.5 ? lost : new double[400]);
      broken += found.orElseThrow() == 0.25 ? 1 : 0;
      brokenByMean += Arrays.stream(lost).average().orElseThrow() <= delta ? 1 : 0;
    }

    assertThat(broken).isBetween(1, draws / 5);
    assertThat(brokenByMean).isGreaterThan(draws * 2 / 5);
  }

  /** Two kinds of texts in equal number: one without loss, one that always differs below 0.5. */
  @Test
  void halves_ofALossThatIsPlain_findTheSameThresholdAndKeepIt() {
    LearnThenTest test = LearnThenTest.inSteps(0.2, 0.1, 100);

    LearnThenTest.SplitValidation halves =
        test.validateOnSplits(
            200,
            20,
            0,
            t -> {
              double[] losses = new double[200];
              for (int i = 0; i < 100; i++) {
                losses[i] = t < 0.5 ? 1 : 0;
              }
              return losses;
            });

    assertThat(halves).isEqualTo(new LearnThenTest.SplitValidation(20, 0));
    assertThat(test.validateOnSplits(4, 20, 0, t -> new double[4]))
        .as("two texts support nothing")
        .isEqualTo(new LearnThenTest.SplitValidation(0, 0));
  }

  @Test
  void promise_outsideZeroToOne_isRefused() {
    assertThatThrownBy(() -> LearnThenTest.inSteps(0, 0.05, 100))
        .isInstanceOf(ConfigException.class)
        .hasMessage("delta: 0.0 is outside (0, 1); use a share such as 0.05");
  }
}
