package org.eellm.eval;

import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.IntStream;

/**
 * Temperature scaling (Guo et al. 2017, arXiv 1706.04599) of exits: the temperature by which an
 * exit's logits are to be divided so that the full model's tokens become the most probable, by
 * their mean negative log likelihood.
 */
public final class Temperatures {
  private static final int STEPS = 40;
  private static final double SMALLEST = 0.1;
  private static final double LARGEST = 10;

  private Temperatures() {}

  /**
   * Fits each exit's temperature.
   *
   * @param texts of the full model's
   * @return by the exits' layers
   */
  public static SortedMap<Integer, Double> fit(
      EvaluatedModel model, List<GreedyContinuation> texts) {
    double[] candidates =
        IntStream.rangeClosed(0, STEPS)
            .mapToDouble(i -> SMALLEST * Math.pow(LARGEST / SMALLEST, (double) i / STEPS))
            .toArray();
    SortedMap<Integer, double[]> losses = new TreeMap<>();
    model.exits().forEach(layer -> losses.put(layer, new double[candidates.length]));
    GreedyContinuation.predict(
        model,
        texts,
        (text, position, prediction) -> {
          int id = texts.get(text).continuation().get(position);
          double[] sums = losses.getOrDefault(prediction.head().layer(), new double[0]);
          for (int i = 0; i < sums.length; i++) {
            sums[i] -= prediction.tempered(candidates[i]).logProbability(id);
          }
        });
    SortedMap<Integer, Double> best = new TreeMap<>();
    losses.forEach((layer, sums) -> best.put(layer, lowest(candidates, sums)));
    return best;
  }

  /**
   * Where a convex function of the logarithm is lowest: the vertex of the parabola through the
   * lowest value and its neighbours.
   */
  static double lowest(double[] candidates, double[] values) {
    int lowest =
        IntStream.range(0, values.length)
            .reduce((a, b) -> values[b] < values[a] ? b : a)
            .orElseThrow();
    if (lowest == 0 || lowest == values.length - 1) {
      return candidates[lowest];
    }
    double left = values[lowest - 1] - values[lowest];
    double right = values[lowest + 1] - values[lowest];
    double shift = left + right == 0 ? 0 : 0.5 * (left - right) / (left + right);
    double step = Math.log(candidates[lowest + 1] / candidates[lowest]);
    return candidates[lowest] * Math.exp(shift * step);
  }
}
