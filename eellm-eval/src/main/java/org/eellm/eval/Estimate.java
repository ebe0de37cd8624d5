package org.eellm.eval;

import java.util.Arrays;
import java.util.function.DoubleFunction;
import java.util.function.DoubleUnaryOperator;

/**
 * A figure of some items, and how far it may be off.
 *
 * @param standardError not a number for a single item
 */
public record Estimate(double value, double standardError) {

  /** The mean. */
  public static Estimate mean(double[] values) {
    double[] ones = new double[values.length];
    Arrays.fill(ones, 1);
    return ratio(values, ones);
  }

  /** The values' sum over the weights' sum, with the error of a ratio estimator. */
  public static Estimate ratio(double[] values, double[] weights) {
    int n = values.length;
    double weight = Arrays.stream(weights).sum();
    double ratio = Arrays.stream(values).sum() / weight;
    double squares = 0;
    for (int i = 0; i < n; i++) {
      double residual = values[i] - ratio * weights[i];
      squares += residual * residual;
    }
    // Of a single item, rounding alone decides whether 0 or a little more would be divided by 0.
    double error = n == 1 ? Double.NaN : Math.sqrt(squares / (n - 1) * n) / weight;
    return new Estimate(ratio, error);
  }

  /** The standard error as the length of a bar; 0 where there is none. */
  public double error() {
    return Double.isNaN(standardError) ? 0 : standardError;
  }

  /** With its standard error, if there is one. */
  public String text(DoubleFunction<String> number) {
    return Double.isNaN(standardError)
        ? number.apply(value)
        : number.apply(value) + " ± " + number.apply(standardError);
  }

  /** A smooth function of it; the error follows the function's slope. */
  public Estimate map(DoubleUnaryOperator function, DoubleUnaryOperator slope) {
    return new Estimate(
        function.applyAsDouble(value), Math.abs(slope.applyAsDouble(value)) * standardError);
  }
}
