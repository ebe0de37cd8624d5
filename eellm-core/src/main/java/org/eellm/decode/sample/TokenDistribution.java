package org.eellm.decode.sample;

import java.util.Arrays;
import org.eellm.kernel.IdMarks;
import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.WeightedIds;

/**
 * A distribution over ids to draw from. It is filled anew for each token, in the same memory: a
 * vocabulary is large, and the tokens of many sequences are drawn one after the other.
 *
 * <p>To draw with one random number, weights are summed up until they exceed it: that takes e to
 * the power of every logit, and a little more weight on one id shifts all ids behind it, so an exit
 * would less often draw what the full model draws. Here each id has a random number of its own
 * ({@link SamplingNoise}) and waits for as long as it says, divided by its weight; the first one is
 * the token, and distributions that are alike mostly draw the same. Only the order of these times
 * matters, so weights need no sum, and the zeros at the beginning of a random number tell of nearly
 * all ids that they are not the first, before any logarithm or power is computed. It costs a random
 * number for each id instead of one a token, and 12 to 20 bytes an id; what needs probabilities,
 * such as top-p, still computes all weights, but not before it is asked.
 */
public final class TokenDistribution {
  private static final double LOG_2 = Math.log(2);
  private static final int BLOCK = 1024; // ids that are marked at once
  private static final int BIN_SHIFT = 17; // leaves the exponent and 6 bits behind it

  /** How much longer the second id may wait for the margin to be told from a whole one. */
  private static final double FAR = 16;

  private WeightedIds list = WeightedIds.allocate(0);
  private int[] ids = {}; // the list's, ascending
  private float[] powers = {}; // the list's, 0 for the most probable ids
  private FloatArray weights = FloatArray.allocate(0); // 2 to these powers, if they are weighed
  private long[] order = {}; // of some ids, for a choice among them
  private final double[] binSums = new double[bin(1) + 1];
  private final IdMarks marks = new IdMarks(BLOCK);
  private int count;
  private int own; // ids at the beginning that are their own places
  private int likeliest; // the first one's place
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
      for (; own < logits.length; own++) {
        ids[own] = own;
      }
      System.arraycopy(logits, 0, powers, 0, logits.length);
      count = logits.length;
    }
    // Within bounds, so that neither 0 nor infinity times it is NaN.
    double factor = Math.clamp(1 / (LOG_2 * temperature), Float.MIN_NORMAL, Float.MAX_VALUE);
    likeliest = RowKernel.chosen().scale(list.powers(), count, (float) factor);
    if (likeliest < 0) {
      throw new IllegalArgumentException(
          "of %d numbers none is finite and the largest".formatted(count));
    }
    weighed = false;
  }

  /**
   * Gives the ids other names.
   *
   * @param names of the ids from 0 on, ascending; none to leave them
   */
  void mapIds(int[] names) {
    if (names.length > 0) {
      own = 0;
      for (int i = 0; i < count; i++) {
        ids[i] = names[ids[i]];
      }
    }
  }

  private void reserve(int size) {
    if (ids.length < size) {
      list = WeightedIds.allocate(IdMarks.room(size));
      ids = list.ids().values();
      powers = list.powers().values();
      weights = FloatArray.allocate(list.length());
      own = 0;
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
    own = 0;
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

  /** Has the weights, which only a limit or a probability needs. */
  private void weigh() {
    if (!weighed) {
      RowKernel.chosen().powersOfTwo(list.powers(), count, weights);
      weighed = true;
      sum();
    }
  }

  private void sum() {
    double even = 0; // two sums, for each addition waits for the one before
    double odd = 0;
    float[] all = weights.values();
    for (int i = 0; i + 1 < count; i += 2) {
      even += all[i];
      odd += all[i + 1];
    }
    total = even + odd + (count % 2 == 1 ? all[count - 1] : 0);
  }

  /** The id of the largest logit, the lowest among equals. */
  static int best(float[] logits) {
    return best(logits, logits.length);
  }

  private static int best(float[] logits, int count) {
    int best = 0;
    for (int id = 1; id < count; id++) {
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
    long last = lastOf(share * total, negligible);
    float[] all = weights.values();
    int kept = 0;
    for (int i = 0; i < count; i++) {
      if (all[i] > 0 && all[i] >= negligible && packed(all[i], i) >= last) {
        keep(kept++, i);
      }
    }
    count = kept;
    likeliest = best(powers, count);
    sum();
    return this;
  }

  /**
   * The least probable id that stays where the best ids' weights are to sum to so much: {@link
   * #packed} with its place. Weights that are alike to some bits are summed up first; only those
   * among which it is are put in order.
   */
  private long lastOf(double sum, double negligible) {
    float[] all = weights.values();
    int lowest = bin((float) negligible);
    int bin = bin(1) - lowest; // of the most probable ids
    Arrays.fill(binSums, 0, bin + 1, 0);
    for (int i = 0; i < count; i++) {
      if (all[i] > 0 && all[i] >= negligible) {
        binSums[bin(all[i]) - lowest] += all[i];
      }
    }
    double cumulated = 0;
    for (; bin > 0 && cumulated + binSums[bin] < sum; bin--) {
      cumulated += binSums[bin];
    }
    reserveOrder(count);
    int size = 0;
    for (int i = 0; i < count; i++) {
      if (all[i] > 0 && all[i] >= negligible && bin(all[i]) - lowest == bin) {
        order[size++] = ~packed(all[i], i); // the best first
      }
    }
    for (int i = size / 2 - 1; i >= 0; i--) {
      siftDown(i, size);
    }
    long last = Long.MIN_VALUE; // all, where rounding leaves none among which it would be
    while (size > 0 && cumulated < sum) {
      last = ~order[0];
      cumulated += value(last);
      order[0] = order[--size];
      siftDown(0, size);
    }
    return last;
  }

  private static int bin(float weight) {
    return Float.floatToRawIntBits(weight) >> BIN_SHIFT;
  }

  /** Keeps the ids that are at least {@code share} as probable as the best one; 0 for all. */
  TokenDistribution minP(double share) {
    if (share == 0) {
      return this;
    }
    double least = powers[likeliest] + Math.log(share) / LOG_2;
    int kept = 0;
    for (int i = 0; i < count; i++) {
      if (powers[i] >= least) {
        keep(kept++, i);
      }
    }
    count = kept;
    likeliest = best(powers, count);
    if (weighed) {
      sum();
    }
    return this;
  }

  private void keep(int to, int from) {
    own = Math.min(own, to);
    ids[to] = ids[from];
    powers[to] = powers[from];
    weights.values()[to] = weights.values()[from];
  }

  public double probability(int id) {
    weigh();
    int found = Arrays.binarySearch(ids, 0, count, id);
    return found < 0 ? 0 : weights.values()[found] / total;
  }

  /**
   * The id that comes first, where an id of probability p waits for a time that is exponential with
   * mean 1 / p: each id is the first with its probability.
   */
  int sample(SamplingNoise noise) {
    return ids[first(noise)];
  }

  private int first(SamplingNoise noise) {
    return soonest(noise, likeliest, time(noise, likeliest), -1);
  }

  /**
   * Which place but one has a shorter time than a given one, and than all others.
   *
   * @param place whose time is given; the result, if there is none
   * @param without one, or -1
   */
  private int soonest(SamplingNoise noise, int place, double time, int without) {
    int soonest = place;
    double least = time;
    float enough = enough(least);
    for (int from = 0; from < count; from += BLOCK) {
      marks.mark(list, from, Math.min(BLOCK, count - from), noise.key(), enough);
      for (int mark = marks.next(0); mark >= 0; mark = marks.next(mark + 1)) {
        int at = from + mark;
        if (at != without && IdMarks.zeros(noise.key(), ids[at]) + powers[at] > enough) {
          double other = time(noise, at);
          if (other < least) {
            least = other;
            soonest = at;
            enough = enough(least);
          }
        }
      }
    }
    return soonest;
  }

  /** {@link #sample}, with how much longer the second id waits. */
  Sampler.Choice choose(SamplingNoise noise) {
    int first = first(noise);
    double least = time(noise, first);
    int second = soonest(noise, first, FAR * least, first);
    double margin = second == first ? 1 : 1 - least / time(noise, second);
    return new Sampler.Choice(ids[first], margin);
  }

  private double time(SamplingNoise noise, int place) {
    return noise.exponential(ids[place]) / Math.exp(powers[place] * LOG_2);
  }

  /**
   * The least sum of zeros and power of an id with a shorter time than a given one: its time is not
   * below the number that it is made from, so that few powers and logarithms are needed. Less a bit
   * that is more than what rounding adds.
   */
  private static float enough(double time) {
    return (float) (-1 - 0x1p-10 - Math.log(time) / LOG_2);
  }
}
