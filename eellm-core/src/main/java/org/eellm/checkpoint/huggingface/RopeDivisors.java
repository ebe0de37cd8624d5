package org.eellm.checkpoint.huggingface;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.eellm.config.RopeScaling;
import org.eellm.config.RopeScaling.Llama3;
import org.eellm.config.RopeScaling.None;

/** The divisors of the pairs' frequencies in Llama 3's scaling, as GGUF files have them. */
public final class RopeDivisors {
  private static final double TOLERANCE = 1e-5; // of divisors that others computed in float32

  private RopeDivisors() {}

  /** The divisors of a head's pairs. */
  public static float[] of(Llama3 scaling, double theta, int pairs) {
    float[] divisors = new float[pairs];
    for (int j = 0; j < pairs; j++) {
      double wavelength = wavelength(theta, j, pairs);
      double low = scaling.originalMaxPositions() / scaling.lowFreqFactor();
      double high = scaling.originalMaxPositions() / scaling.highFreqFactor();
      double smooth =
          Math.clamp(
              (scaling.originalMaxPositions() / wavelength - scaling.lowFreqFactor())
                  / (scaling.highFreqFactor() - scaling.lowFreqFactor()),
              0,
              1);
      divisors[j] =
          (float)
              (wavelength < high
                  ? 1
                  : wavelength > low
                      ? scaling.factor()
                      : 1 / ((1 - smooth) / scaling.factor() + smooth));
    }
    return divisors;
  }

  /**
   * The scaling that has these divisors.
   *
   * @param original positions before scaling, if they are a likely number
   * @return empty if there is none
   */
  public static Optional<RopeScaling> scaling(float[] divisors, double theta, int original) {
    double factor = 1;
    for (float divisor : divisors) {
      if (!(divisor >= 1 && divisor < Float.POSITIVE_INFINITY)) {
        return Optional.empty();
      }
      factor = Math.max(factor, divisor);
    }
    if (factor == 1) {
      return Optional.of(new None());
    }
    List<Llama3> candidates = new ArrayList<>();
    if (original > 0) {
      candidates.add(new Llama3(factor, 1, 4, original)); // 1 and 4 as in all of Meta's models
    }
    candidates.addAll(fitted(divisors, factor, theta));
    for (int power = 4; power <= 17; power++) {
      candidates.add(new Llama3(factor, 1, 4, 1 << power));
    }
    return candidates.stream()
        .filter(scaling -> fits(divisors, scaling, theta))
        .findFirst()
        .map(scaling -> scaling);
  }

  /**
   * Where a divisor is between 1 and the factor, (original / wavelength - low) / (high - low) is
   * how near to 1: a line, which two such pairs determine but for a common factor of all three, so
   * that low can be 1; and one, if low is 1 and high 4.
   */
  private static List<Llama3> fitted(float[] divisors, double factor, double theta) {
    List<double[]> points = new ArrayList<>(); // 1 / wavelength, nearness
    for (int j = 0; j < divisors.length; j++) {
      if (divisors[j] > 1 && divisors[j] < factor) {
        double nearness = (1.0 / divisors[j] - 1 / factor) / (1 - 1 / factor);
        points.add(new double[] {1 / wavelength(theta, j, divisors.length), nearness});
      }
    }
    List<Llama3> fitted = new ArrayList<>();
    if (points.isEmpty()) {
      return fitted;
    }
    double[] a = points.getFirst();
    double[] b = points.getLast();
    add(fitted, factor, 4, (3 * a[1] + 1) / a[0]);
    double slope = (a[1] - b[1]) / (a[0] - b[0]);
    double high = 1 - 1 / (a[1] - slope * a[0]);
    add(fitted, factor, high, slope * (high - 1));
    return fitted;
  }

  private static void add(List<Llama3> fitted, double factor, double high, double original) {
    if (high > 1 && original >= 1 && original < Integer.MAX_VALUE) {
      fitted.add(new Llama3(factor, 1, high, (int) Math.round(original)));
    }
  }

  private static boolean fits(float[] divisors, Llama3 scaling, double theta) {
    float[] expected = of(scaling, theta, divisors.length);
    for (int j = 0; j < divisors.length; j++) {
      if (Math.abs(divisors[j] - expected[j]) > TOLERANCE * expected[j]) {
        return false;
      }
    }
    return true;
  }

  private static double wavelength(double theta, int pair, int pairs) {
    return 2 * Math.PI * Math.pow(theta, (double) pair / pairs);
  }
}
