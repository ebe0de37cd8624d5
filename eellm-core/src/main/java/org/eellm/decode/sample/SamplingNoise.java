package org.eellm.decode.sample;

import java.util.Arrays;
import org.eellm.kernel.IdMarks;
import org.eellm.kernel.vector.SplitMix;
import org.eellm.kernel.vector.WeightedIds;

/**
 * The chance in a token: a random number for each id of the vocabulary, the same whenever it is
 * asked for. An id of probability p waits for a time {@code exponential / p}, and the first one is
 * the token: this draws from any distribution (the exponential race, or Gumbel's trick), and two
 * distributions that are alike mostly draw the same.
 */
record SamplingNoise(long key) {
  private static final int BLOCK = 1024; // ids
  private static final int MOST = 64; // favored ids of a token, on average

  /** Ids that are their own places, all of weight 1. */
  private static final WeightedIds EQUAL = WeightedIds.allocate(BLOCK);

  static {
    Arrays.setAll(EQUAL.ids().values(), place -> place);
  }

  /** Of a token at a position. */
  static SamplingNoise at(long seed, int position) {
    return new SamplingNoise(SplitMix.mixed(SplitMix.mixed(seed) + SplitMix.GOLDEN * position));
  }

  /** A number in [0, 1). With n {@link IdMarks#zeros}, up to 52, it is at least 2^-(n + 1). */
  double uniform(int id) {
    return (IdMarks.random(key, id) >>> 11) * 0x1.0p-53;
  }

  /**
   * The ids that need not be probable to be chosen: those with the least numbers, 32 to 64 of them
   * on average; all of fewer than 64.
   */
  int[] favored(int vocabSize) {
    int few = Math.max(0, Integer.SIZE - 1 - Integer.numberOfLeadingZeros(vocabSize) - 5);
    IdMarks marks = new IdMarks(BLOCK);
    int[] ids = new int[2 * MOST];
    int count = 0;
    for (int first = 0; first < vocabSize; first += BLOCK) {
      long from = key + SplitMix.GOLDEN * first;
      marks.mark(EQUAL, 0, Math.min(BLOCK, vocabSize - first), from, few - 0.5f);
      for (int place = marks.next(0); place >= 0; place = marks.next(place + 1)) {
        ids = count < ids.length ? ids : Arrays.copyOf(ids, 2 * count);
        ids[count++] = first + place;
      }
    }
    return Arrays.copyOf(ids, count);
  }

  /** An exponentially distributed time with mean 1, not below {@link #uniform}. */
  double exponential(int id) {
    return -Math.log1p(-uniform(id));
  }
}
