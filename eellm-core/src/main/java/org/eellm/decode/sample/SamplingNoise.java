package org.eellm.decode.sample;

import java.util.Arrays;
import java.util.stream.IntStream;

/**
 * The chance in a token: a random number for each id of the vocabulary, the same whenever it is
 * asked for. An id of probability p waits for a time {@code exponential / p}, and the first one is
 * the token: this draws from any distribution (the exponential race, or Gumbel's trick), and two
 * distributions that are alike mostly draw the same.
 *
 * @param key of the token
 */
record SamplingNoise(long key) {
  private static final long GOLDEN = 0x9E3779B97F4A7C15L;
  private static final int BLOCK = 1024; // ids
  private static final int MOST = 64; // favored ids of a token, on average

  private static final int[] PLACES = IntStream.range(0, BLOCK).toArray();

  /** Of a token at a position. */
  static SamplingNoise at(long seed, int position) {
    return new SamplingNoise(mixed(mixed(seed) + GOLDEN * position));
  }

  /** A number in [0, 1). */
  double uniform(int id) {
    return (mixed(key + GOLDEN * id) >>> 11) * 0x1.0p-53;
  }

  /**
   * Counts the zeros at the beginning of {@link #uniform} in binary, for many ids at once: with n
   * of them, up to 52, it is at least 2^-(n + 1).
   *
   * @param to the id's at its place
   */
  void leadingZeros(int[] ids, int count, int[] to) {
    for (int i = 0; i < count; i++) {
      to[i] = Long.numberOfLeadingZeros(mixed(key + GOLDEN * ids[i]));
    }
  }

  /**
   * The ids that need not be probable to be chosen: those with the least numbers, 32 to 64 of them
   * on average; all of fewer than 64.
   */
  int[] favored(int vocabSize) {
    int few = Math.max(0, Integer.SIZE - 1 - Integer.numberOfLeadingZeros(vocabSize) - 5);
    int[] zeros = new int[BLOCK];
    int[] ids = new int[2 * MOST];
    int count = 0;
    for (int first = 0; first < vocabSize; first += BLOCK) {
      int block = Math.min(BLOCK, vocabSize - first);
      new SamplingNoise(key + GOLDEN * first).leadingZeros(PLACES, block, zeros);
      for (int i = 0; i < block; i++) {
        if (zeros[i] >= few) {
          ids = count < ids.length ? ids : Arrays.copyOf(ids, 2 * count);
          ids[count++] = first + i;
        }
      }
    }
    return Arrays.copyOf(ids, count);
  }

  /** An exponentially distributed time with mean 1, not below {@link #uniform}. */
  double exponential(int id) {
    return -Math.log1p(-uniform(id));
  }

  /** The mixing of SplittableRandom (Steele, Lea, Flood, OOPSLA 2014). */
  private static long mixed(long value) {
    long x = (value ^ value >>> 30) * 0xBF58476D1CE4E5B9L;
    x = (x ^ x >>> 27) * 0x94D049BB133111EBL;
    return x ^ x >>> 31;
  }
}
