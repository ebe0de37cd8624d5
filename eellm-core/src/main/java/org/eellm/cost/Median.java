package org.eellm.cost;

import java.util.Arrays;
import java.util.Collection;

/** The middle of measurements. */
public final class Median {
  private Median() {}

  /** The middle value; of an even number, the upper of the two. */
  public static double of(double... values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2];
  }

  public static double of(Collection<Double> values) {
    return of(values.stream().mapToDouble(value -> value).toArray());
  }
}
