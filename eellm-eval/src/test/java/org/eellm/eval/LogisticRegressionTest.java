package org.eellm.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Random;
import org.junit.jupiter.api.Test;

final class LogisticRegressionTest {
  private static final double[] WEIGHTS = {1.5, -0.7, 0, 0.3};
  private static final double BIAS = -0.4;

  /** Outcomes that a known model draws of random figures. */
  private record Drawn(float[][] x, boolean[] outcomes) {
    static Drawn of(int count) {
      Random random = new Random(3);
      float[][] x = new float[count][WEIGHTS.length];
      boolean[] outcomes = new boolean[count];
      for (int i = 0; i < count; i++) {
        double z = BIAS;
        for (int j = 0; j < WEIGHTS.length; j++) {
          x[i][j] = (float) random.nextGaussian();
          z += WEIGHTS[j] * x[i][j];
        }
        outcomes[i] = random.nextDouble() < 1 / (1 + Math.exp(-z));
      }
      return new Drawn(x, outcomes);
    }
  }

  @Test
  void fit_outcomesOfAKnownModel_findsItsWeights() {
    Drawn drawn = Drawn.of(40_000);
    LogisticRegression fitted = LogisticRegression.fit(drawn.x(), drawn.outcomes(), 1);

    assertThat(fitted.weights()).containsExactly(WEIGHTS, within(0.06));
    assertThat(fitted.bias()).isCloseTo(BIAS, within(0.06));
  }

  /** Where it ends, differences of what it lowers vanish in all directions. */
  @Test
  void fit_ends_whereFiniteDifferencesVanish() {
    double ridge = 20;
    Drawn drawn = Drawn.of(500);
    LogisticRegression fitted = LogisticRegression.fit(drawn.x(), drawn.outcomes(), ridge);

    double step = 1e-4;
    for (int i = 0; i < WEIGHTS.length; i++) {
      double[] up = fitted.weights().clone();
      double[] down = fitted.weights().clone();
      up[i] += step;
      down[i] -= step;
      double slope =
          (objective(drawn, new LogisticRegression(fitted.bias(), up), ridge)
                  - objective(drawn, new LogisticRegression(fitted.bias(), down), ridge))
              / (2 * step);
      assertThat(slope).isCloseTo(0, within(1e-3));
    }
  }

  private static double objective(Drawn drawn, LogisticRegression model, double ridge) {
    double squares = 0;
    for (double weight : model.weights()) {
      squares += weight * weight;
    }
    return drawn.x().length * model.loss(drawn.x(), drawn.outcomes()) + ridge / 2 * squares;
  }

  /** Without figures, the bias is the logarithm of the odds. */
  @Test
  void fit_figuresThatSayNothing_isTheShareOfOutcomes() {
    boolean[] outcomes = new boolean[1000];
    for (int i = 0; i < 200; i++) {
      outcomes[i] = true;
    }
    LogisticRegression fitted = LogisticRegression.fit(new float[1000][2], outcomes, 1);

    assertThat(fitted.bias()).isCloseTo(Math.log(0.2 / 0.8), within(1e-3));
    assertThat(fitted.weights()).containsOnly(0);
  }

  @Test
  void fit_outcomesThatAreAllTheSame_ends() {
    boolean[] outcomes = new boolean[50];
    LogisticRegression fitted = LogisticRegression.fit(new float[50][2], outcomes, 1);

    assertThat(fitted.bias()).isBetween(-12.0, -4.0);
  }
}
