package org.eellm.eval;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Random;
import java.util.function.DoubleFunction;
import java.util.stream.IntStream;
import org.eellm.config.SettingException;

/**
 * Chooses a threshold whose expected loss is at most {@code delta}, with probability at least
 * {@code 1 - epsilon} over the draw of the texts it is chosen with (CALM, arXiv 2207.07061, section
 * 4; learn then test, arXiv 2110.01052). From the highest threshold down, each is tested with a
 * p-value by Hoeffding and Bentkus at level {@code epsilon}; the last before the first that fails
 * is the one.
 *
 * @param thresholds in the order in which they are tested
 */
public record LearnThenTest(double delta, double epsilon, List<Double> thresholds) {
  private static final double MOST_LOG_ODDS = 9;
  private static final double LOG_ODDS_RANGE = 10; // below that

  public LearnThenTest {
    thresholds = List.copyOf(thresholds);
    requireShare("delta", delta);
    requireShare("epsilon", epsilon);
  }

  /** With thresholds in equal steps, from just below 1 down to 0. */
  public static LearnThenTest inSteps(double delta, double epsilon, int steps) {
    return new LearnThenTest(
        delta,
        epsilon,
        IntStream.rangeClosed(1, steps).mapToObj(i -> (double) (steps - i) / steps).toList());
  }

  /**
   * With thresholds in equal steps of their log odds, from 0.9999 down to 0.27: for a confidence
   * that often is all but 1, as that of gates.
   */
  public static LearnThenTest inLogOdds(double delta, double epsilon, int steps) {
    return new LearnThenTest(
        delta,
        epsilon,
        IntStream.rangeClosed(0, steps)
            .mapToObj(i -> 1 / (1 + Math.exp(LOG_ODDS_RANGE * i / steps - MOST_LOG_ODDS)))
            .map(threshold -> Math.round(1e4 * threshold) / 1e4)
            .toList());
  }

  private static void requireShare(String name, double value) {
    if (!(value > 0 && value < 1)) {
      throw new SettingException(name, value + " is outside (0, 1); use a share such as 0.05");
    }
  }

  /** Fewest texts that can support the guarantee, if none of them had any loss. */
  public int minTexts() {
    return (int) Math.ceil(Math.log(epsilon) / Math.log1p(-delta));
  }

  /**
   * The threshold; none if not even the highest keeps the guarantee for sure.
   *
   * @param losses of each text at a threshold, from 0 to 1
   */
  public OptionalDouble threshold(DoubleFunction<double[]> losses) {
    OptionalDouble found = OptionalDouble.empty();
    for (double threshold : thresholds) {
      if (pValue(losses.apply(threshold)) > epsilon) {
        break;
      }
      found = OptionalDouble.of(threshold);
    }
    return found;
  }

  /**
   * How a guarantee fares on texts that it was not made with.
   *
   * @param found splits whose one half gave a threshold
   * @param violated those of them on whose other half the mean loss was above delta
   */
  public record SplitValidation(int found, int violated) {}

  /**
   * Chooses a threshold with a random half of the texts, and looks at the other half, many times.
   *
   * @param losses of each text at a threshold, as in {@link #threshold}
   * @param seed of the first split
   */
  public SplitValidation validateOnSplits(
      int texts, int splits, long seed, DoubleFunction<double[]> losses) {
    Map<Double, double[]> known = new HashMap<>();
    DoubleFunction<double[]> once = t -> known.computeIfAbsent(t, losses::apply);
    int found = 0;
    int violated = 0;
    for (int split = 0; split < splits; split++) {
      List<Integer> order = new ArrayList<>(IntStream.range(0, texts).boxed().toList());
      Collections.shuffle(order, new Random(seed + split));
      List<Integer> half = order.subList(0, texts / 2);
      List<Integer> rest = order.subList(texts / 2, texts);
      OptionalDouble threshold = threshold(t -> pick(once.apply(t), half));
      if (threshold.isPresent()) {
        found++;
        double[] others = pick(once.apply(threshold.getAsDouble()), rest);
        violated += Arrays.stream(others).average().orElse(0) > delta ? 1 : 0;
      }
    }
    return new SplitValidation(found, violated);
  }

  private static double[] pick(double[] losses, List<Integer> some) {
    return some.stream().mapToDouble(i -> losses[i]).toArray();
  }

  /** How probable losses as small as these are at most, if the expected one is above delta. */
  double pValue(double[] losses) {
    int n = losses.length;
    double mean = Arrays.stream(losses).average().orElse(1);
    if (mean >= delta) {
      return 1;
    }
    double hoeffding =
        Math.exp(
            -n
                * ((mean == 0 ? 0 : mean * Math.log(mean / delta))
                    + (1 - mean) * Math.log((1 - mean) / (1 - delta))));
    double bentkus = Math.E * binomial((int) Math.ceil(n * mean - 1e-9), n);
    return Math.min(1, Math.min(hoeffding, bentkus));
  }

  /** The probability of at most {@code most} of {@code n} events of probability delta. */
  private double binomial(int most, int n) {
    double logTerm = n * Math.log1p(-delta);
    double sum = Math.exp(logTerm);
    for (int k = 1; k <= most; k++) {
      logTerm += Math.log((n - k + 1.0) / k) + Math.log(delta) - Math.log1p(-delta);
      sum += Math.exp(logTerm);
    }
    return sum;
  }
}
