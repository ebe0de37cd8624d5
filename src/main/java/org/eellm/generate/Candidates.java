package org.eellm.generate;

import java.util.Arrays;

/**
 * A distribution over ids to draw from.
 *
 * <p>Ids are packed with their weights into longs whose ascending order is best first, the lower id
 * first among equals: sorting a vocabulary that way takes well below a millisecond.
 */
final class Candidates {
  private final float[] weights; // exp of the scaled logits, 1 for the best
  private final int best;

  private Candidates(float[] weights, int best) {
    this.weights = weights;
    this.best = best;
  }

  /** The softmax of {@code logits / temperature}; temperature 0 is taken as 1, for the best. */
  static Candidates of(float[] logits, double temperature) {
    int best = 0;
    for (int id = 1; id < logits.length; id++) {
      if (logits[id] > logits[best]) {
        best = id;
      }
    }
    double scale = temperature == 0 ? 1 : 1 / temperature;
    float[] weights = new float[logits.length];
    for (int id = 0; id < logits.length; id++) {
      weights[id] = (float) Math.exp(scale * ((double) logits[id] - logits[best]));
    }
    return new Candidates(weights, best);
  }

  /** The most probable id, the lowest among equals. */
  int best() {
    return best;
  }

  /**
   * The id at a point of the distribution.
   *
   * @param topK 0 for no limit
   * @param topP 1 for no limit
   * @param point in [0, 1), uniform if the id is to be random
   */
  int draw(int topK, double topP, double point) {
    int[] ids = kept(topK, topP);
    double target = point * sum(ids, ids.length);
    double cumulated = 0;
    for (int id : ids) {
      cumulated += weights[id];
      if (cumulated > target) {
        return id;
      }
    }
    return best; // reached by rounding only
  }

  /** The ids that may be drawn. */
  private int[] kept(int topK, double topP) {
    int limit = topK == 0 ? weights.length : Math.min(topK, weights.length);
    if (limit == weights.length && topP == 1) {
      return ids(weights.length);
    }
    int[] ordered = bestFirst();
    double enough = topP * sum(ordered, limit);
    double cumulated = 0;
    int count = 0;
    while (count < limit && (count == 0 || topP == 1 || cumulated < enough)) {
      cumulated += weights[ordered[count++]];
    }
    return Arrays.copyOf(ordered, count);
  }

  private static int[] ids(int count) {
    int[] ids = new int[count];
    Arrays.setAll(ids, id -> id);
    return ids;
  }

  private int[] bestFirst() {
    long[] packed = new long[weights.length];
    for (int id = 0; id < packed.length; id++) {
      // The bits of floats that are not negative are ordered as the floats are.
      packed[id] = ((long) (Integer.MAX_VALUE - Float.floatToIntBits(weights[id])) << 32) | id;
    }
    Arrays.sort(packed);
    int[] ids = new int[packed.length];
    Arrays.setAll(ids, i -> (int) packed[i]);
    return ids;
  }

  private double sum(int[] ids, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++) {
      sum += weights[ids[i]];
    }
    return sum;
  }
}
