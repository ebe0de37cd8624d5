package org.eellm.decode.sample;

import java.util.Arrays;

/**
 * A distribution over ids to draw from. It is filled anew for each token, in the same memory: a
 * vocabulary is large, and the tokens of many sequences are drawn one after the other.
 */
public final class TokenDistribution {
  private static final double LOG_2 = Math.log(2);
  private static final double UNDERFLOW = -160; // as a float, 2 to the power of this is 0

  /** How much longer the second id may wait for the lead to be told from a whole one. */
  private static final double FAR = 16;

  private int[] ids = {}; // ascending
  private float[] powers = {}; // logarithms of weights to base 2, 0 for the most probable ids
  private float[] weights = {}; // 2 to the power of powers, if they are weighed
  private long[] order = {}; // of some ids, for a choice among them
  private int[] zeros = {}; // of a token's noise, by place
  private int count;
  private boolean weighed;
  private double total; // of the weights

  /**
   * The softmax of {@code logits / temperature} over the most probable ids.
   *
   * @param temperature above 0
   * @param topK how many ids, the lower ones among equals; 0 for all
   */
  public static TokenDistribution of(float[] logits, double temperature, int topK) {
    TokenDistribution candidates = new TokenDistribution();
    candidates.fill(logits, temperature, topK);
    return candidates;
  }

  /** Becomes {@link #of}. */
  void fill(float[] logits, double temperature, int topK) {
    if (topK > 0 && topK < logits.length) {
      chooseBest(logits, topK);
      for (int i = 0; i < count; i++) {
        powers[i] = logits[ids[i]];
      }
    } else {
      reserve(logits.length);
      for (int id = 0; id < logits.length; id++) {
        ids[id] = id;
      }
      System.arraycopy(logits, 0, powers, 0, logits.length);
      count = logits.length;
    }
    scale(powers, count, (float) (1 / (LOG_2 * temperature)));
    weighed = false;
  }

  /**
   * Gives the ids other names.
   *
   * @param names of the ids from 0 on, ascending; none to leave them
   */
  void mapIds(int[] names) {
    for (int i = 0; i < count && names.length > 0; i++) {
      ids[i] = names[ids[i]];
    }
  }

  private void reserve(int size) {
    if (ids.length < size) {
      ids = new int[size];
      powers = new float[size];
      weights = new float[size];
    }
  }

  /** The ids of the largest logits, the lower ones among equals. */
  private void chooseBest(float[] logits, int wanted) {
    reserveOrder(wanted);
    for (int id = 0; id < wanted; id++) {
      order[id] = packed(logits[id], id);
    }
    for (int i = wanted / 2 - 1; i >= 0; i--) {
      siftDown(i, wanted);
    }
    float least = value(order[0]);
    for (int id = wanted; id < logits.length; id++) {
      if (logits[id] > least) { // among equals the lower ids are there already
        order[0] = packed(logits[id], id);
        siftDown(0, wanted);
        least = value(order[0]);
      }
    }
    reserve(wanted);
    for (int i = 0; i < wanted; i++) {
      ids[i] = id(order[i]);
    }
    Arrays.sort(ids, 0, wanted);
    count = wanted;
  }

  private void reserveOrder(int size) {
    if (order.length < size) {
      order = new long[size];
    }
  }

  /** Numbers that are ordered as values are, and the higher id first among equals. */
  private static long packed(float value, int id) {
    int bits = Float.floatToIntBits(value + 0.0f); // of two zeros one
    int ordered = bits ^ (bits >> 31 & Integer.MAX_VALUE);
    return (long) ordered << 32 | Integer.MAX_VALUE - id;
  }

  private static float value(long packed) {
    int ordered = (int) (packed >> 32);
    return Float.intBitsToFloat(ordered ^ (ordered >> 31 & Integer.MAX_VALUE));
  }

  private static int id(long packed) {
    return Integer.MAX_VALUE - (int) packed;
  }

  /** Restores a heap whose least number is first, below one of its places. */
  private void siftDown(int place, int size) {
    long moved = order[place];
    int at = place;
    while (2 * at + 1 < size) {
      int child = 2 * at + 1;
      if (child + 1 < size && order[child + 1] < order[child]) {
        child++;
      }
      if (order[child] >= moved) {
        break;
      }
      order[at] = order[child];
      at = child;
    }
    order[at] = moved;
  }

  /** Puts {@code factor (x - largest)} in the place of each x. */
  private static void scale(float[] values, int count, float factor) {
    float largest = Float.NEGATIVE_INFINITY;
    for (int i = 0; i < count; i++) {
      largest = Math.max(largest, values[i]);
    }
    for (int i = 0; i < count; i++) {
      values[i] = (values[i] - largest) * factor;
    }
  }

  /** Has the weights, which only a limit or a probability needs. */
  private void weigh() {
    if (!weighed) {
      exponentials(powers, count, weights);
      weighed = true;
      sum();
    }
  }

  /**
   * Writes 2 to the power of each. Java's compiler makes vectors of the loop, as it does not of
   * {@link Math#exp}: e to the power of x is the 128th power of that of x / 128, for which a few
   * terms are exact.
   */
  private static void exponentials(float[] powers, int count, float[] out) {
    for (int i = 0; i < count; i++) {
      double x = Math.max(powers[i], UNDERFLOW) * (LOG_2 / 128);
      double power = 1.0 / 362880;
      power = power * x + 1.0 / 40320;
      power = power * x + 1.0 / 5040;
      power = power * x + 1.0 / 720;
      power = power * x + 1.0 / 120;
      power = power * x + 1.0 / 24;
      power = power * x + 1.0 / 6;
      power = power * x + 1.0 / 2;
      power = power * x + 1;
      power = power * x + 1;
      power *= power; // 2
      power *= power;
      power *= power; // 8
      power *= power;
      power *= power; // 32
      power *= power;
      power *= power; // 128
      out[i] = (float) power;
    }
  }

  private void sum() {
    double even = 0; // two sums, for each addition waits for the one before
    double odd = 0;
    for (int i = 0; i + 1 < count; i += 2) {
      even += weights[i];
      odd += weights[i + 1];
    }
    total = even + odd + (count % 2 == 1 ? weights[count - 1] : 0);
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

  /** Keeps the fewest most probable ids whose probabilities sum to {@code share}; 1 for all. */
  public TokenDistribution topP(double share) {
    if (share == 1) {
      return this;
    }
    weigh();
    // All ids below this weight together have less than the rest: none of them is among the best.
    double negligible = (1 - share) * total / count;
    reserveOrder(count);
    int size = 0;
    for (int i = 0; i < count; i++) {
      if (weights[i] > 0 && weights[i] >= negligible) {
        order[size++] = ~packed(weights[i], i); // the best first
      }
    }
    for (int i = size / 2 - 1; i >= 0; i--) {
      siftDown(i, size);
    }
    double cumulated = 0;
    int left = size;
    while (left > 0 && (left == size || cumulated < share * total)) {
      long best = order[0];
      cumulated += value(~best);
      left--;
      order[0] = order[left];
      siftDown(0, left);
      order[left] = id(~best); // behind the heap
    }
    Arrays.sort(order, left, size);
    for (int i = left; i < size; i++) {
      keep(i - left, (int) order[i]);
    }
    count = size - left;
    sum();
    return this;
  }

  /** Keeps the ids that are at least {@code share} as probable as the best one; 0 for all. */
  TokenDistribution minP(double share) {
    if (share == 0) {
      return this;
    }
    double least = Math.log(share) / LOG_2;
    int kept = 0;
    for (int i = 0; i < count; i++) {
      if (powers[i] >= least) {
        keep(kept++, i);
      }
    }
    count = kept;
    if (weighed) {
      sum();
    }
    return this;
  }

  private void keep(int to, int from) {
    ids[to] = ids[from];
    powers[to] = powers[from];
    weights[to] = weights[from];
  }

  public double probability(int id) {
    weigh();
    int found = Arrays.binarySearch(ids, 0, count, id);
    return found < 0 ? 0 : weights[found] / total;
  }

  /**
   * The id whose turn comes first, where an id of probability p waits for a time that is
   * exponential with mean 1 / p: each id is the first with its probability.
   *
   * @param noise of the token
   */
  int sample(SamplingNoise noise) {
    if (zeros.length < count) {
      zeros = new int[ids.length];
    }
    noise.leadingZeros(ids, count, zeros);
    int first = likeliest();
    double least = noise.exponential(ids[first]); // its weight is 1
    float enough = enough(least);
    for (int i = 0; i < count; i++) {
      if (zeros[i] + powers[i] > enough) {
        double time = time(noise, i);
        if (time < least) {
          least = time;
          first = i;
          enough = enough(least);
        }
      }
    }
    return ids[first];
  }

  /** {@link #sample}, with how much longer the second id waits. */
  Sampler.Choice choose(SamplingNoise noise) {
    int id = sample(noise);
    int first = Arrays.binarySearch(ids, 0, count, id);
    double least = time(noise, first);
    double second = FAR * least;
    float enough = enough(second);
    for (int i = 0; i < count; i++) {
      if (i != first && zeros[i] + powers[i] > enough) {
        double time = time(noise, i);
        if (time < second) {
          second = time;
          enough = enough(second);
        }
      }
    }
    return new Sampler.Choice(id, second < FAR * least ? 1 - least / second : 1);
  }

  private double time(SamplingNoise noise, int place) {
    return noise.exponential(ids[place]) / Math.exp(powers[place] * LOG_2);
  }

  /**
   * What zeros and power of an id with a shorter time than another add up to at least: its time is
   * not below the number that it is made from, so that few powers and logarithms are needed. Less a
   * bit that is more than what rounding adds.
   */
  private static float enough(double time) {
    return (float) (-1 - 0x1p-10 - Math.log(time) / LOG_2);
  }

  private int likeliest() {
    int place = 0;
    while (powers[place] < 0) {
      place++;
    }
    return place;
  }
}
