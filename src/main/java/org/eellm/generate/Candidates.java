package org.eellm.generate;

import java.util.Arrays;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;

/** A distribution over ids to draw from. */
final class Candidates {
  private final double[] weights; // 0 for ids that cannot be drawn
  private final double total;

  private Candidates(double[] weights) {
    this.weights = weights;
    total = Arrays.stream(weights).sum();
  }

  /**
   * The softmax of {@code logits / temperature}.
   *
   * @param temperature above 0
   */
  static Candidates of(float[] logits, double temperature) {
    double largest = logits[best(logits)];
    double[] weights = new double[logits.length];
    for (int id = 0; id < logits.length; id++) {
      weights[id] = Math.exp((logits[id] - largest) / temperature);
    }
    return new Candidates(weights);
  }

  /** The id of the largest logit, the lowest among equals. */
  static int best(float[] logits) {
    int best = 0;
    for (int id = 1; id < logits.length; id++) {
      if (logits[id] > logits[best]) {
        best = id;
      }
    }
    return best;
  }

  /** The most probable {@code count} ids, the lower ones among equals; 0 for all. */
  Candidates topK(int count) {
    if (count == 0 || count >= weights.length) {
      return this;
    }
    int[] ordered = bestFirst(id -> weights[id] > 0);
    return only(ordered, Math.min(count, ordered.length));
  }

  /** The fewest most probable ids whose probabilities sum to {@code share}; 1 for all. */
  Candidates topP(double share) {
    if (share == 1) {
      return this;
    }
    // All ids below this weight together have less than the rest: none of them is among the best.
    double negligible = (1 - share) * total / weights.length;
    int[] ordered = bestFirst(id -> weights[id] > 0 && weights[id] >= negligible);
    double cumulated = 0;
    int count = 0;
    while (count < ordered.length && (count == 0 || cumulated < share * total)) {
      cumulated += weights[ordered[count++]];
    }
    return only(ordered, count);
  }

  /** The ids that are at least {@code share} as probable as the best one; 0 for all. */
  Candidates minP(double share) {
    if (share == 0) {
      return this;
    }
    double least = share * Arrays.stream(weights).max().orElseThrow();
    return new Candidates(
        Arrays.stream(weights).map(weight -> weight >= least ? weight : 0).toArray());
  }

  private Candidates only(int[] ids, int count) {
    double[] kept = new double[weights.length];
    for (int i = 0; i < count; i++) {
      kept[ids[i]] = weights[ids[i]];
    }
    return new Candidates(kept);
  }

  /**
   * Ids by falling weight, the lower first among equals. They are packed with their weights into
   * longs of that order, which are sorted without comparing objects.
   */
  private int[] bestFirst(IntPredicate choice) {
    long[] packed =
        IntStream.range(0, weights.length)
            .filter(choice)
            // The bits of floats that are not negative are ordered as the floats are.
            .mapToLong(
                id ->
                    ((long) (Integer.MAX_VALUE - Float.floatToIntBits((float) weights[id])) << 32)
                        | id)
            .sorted()
            .toArray();
    return Arrays.stream(packed).mapToInt(pair -> (int) pair).toArray();
  }

  double probability(int id) {
    return weights[id] / total;
  }

  /**
   * What these have beyond others: the positive part of the difference of the probabilities. Where
   * the two are equal but for rounding, these.
   */
  Candidates beyond(Candidates others) {
    double[] rest = new double[weights.length];
    Arrays.setAll(rest, id -> Math.max(0, probability(id) - others.probability(id)));
    Candidates beyond = new Candidates(rest);
    return beyond.total > 0 ? beyond : this;
  }

  /**
   * The id at a point of the distribution.
   *
   * @param point in [0, 1), uniform if the id is to be random
   */
  int draw(double point) {
    double target = point * total;
    double cumulated = 0;
    int last = 0;
    for (int id = 0; id < weights.length; id++) {
      if (weights[id] > 0) {
        last = id;
        cumulated += weights[id];
        if (cumulated > target) {
          return id;
        }
      }
    }
    return last; // reached by rounding only
  }
}
