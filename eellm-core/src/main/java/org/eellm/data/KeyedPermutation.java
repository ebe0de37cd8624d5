package org.eellm.data;

import java.util.Objects;

/**
 * A shuffle of the numbers from 0 to n - 1 that is computed, not stored: a Feistel network over the
 * smallest even number of bits that holds n, walked until the result is below n (which takes less
 * than four steps on average). Any element is found in constant time and memory.
 *
 * @param size n, at least 1
 * @param key which of the shuffles
 */
record KeyedPermutation(long size, long key) {
  private static final int ROUNDS = 6;

  KeyedPermutation {
    if (size < 1 || size > 1L << 62) {
      throw new IllegalArgumentException("size " + size + " is not from 1 to 2^62");
    }
  }

  /** The number at a position; a different one at each. */
  long at(long position) {
    Objects.checkIndex(position, size);
    int halfBits = Math.max(1, (64 - Long.numberOfLeadingZeros(size - 1) + 1) / 2);
    long mask = (1L << halfBits) - 1;
    long value = position;
    do {
      long left = value >>> halfBits;
      long right = value & mask;
      for (int round = 0; round < ROUNDS; round++) {
        long next = left ^ (mix(right + mix(key + round)) & mask);
        left = right;
        right = next;
      }
      value = left << halfBits | right;
    } while (value >= size);
    return value;
  }

  /** SplitMix64's mixing function: every bit of the result depends on every bit of the value. */
  static long mix(long value) {
    long z = value + 0x9E3779B97F4A7C15L;
    z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }
}
