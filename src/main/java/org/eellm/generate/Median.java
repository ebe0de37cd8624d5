package org.eellm.generate;

import java.util.Arrays;
import java.util.Collection;

/** The middle of measurements. */
final class Median {
  private Median() {}

  /** The middle value; of an even number, the upper of the two. */
  static double of(double... values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2];
  }

  static double of(Collection<Double> values) {
    return of(values.stream().mapToDouble(value -> value).toArray());
  }
}
