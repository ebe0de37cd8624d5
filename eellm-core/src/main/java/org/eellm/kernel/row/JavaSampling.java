package org.eellm.kernel.row;

import org.eellm.kernel.vector.IntArray;
import org.eellm.kernel.vector.SplitMix;
import org.eellm.kernel.vector.WeightedIds;

/** The loops over ids that draw a token, in Java: the second compiler makes vectors of them. */
final class JavaSampling {
  private static final double LOG_2 = Math.log(2);

  private JavaSampling() {}

  static int scale(float[] x, int count, float factor) {
    float largest = Float.NEGATIVE_INFINITY;
    for (int i = 0; i < count; i++) {
      largest = Math.max(largest, x[i]);
    }
    for (int i = 0; i < count; i++) {
      x[i] = (x[i] - largest) * factor;
    }
    int place = 0;
    while (place < count && x[place] != 0) {
      place++;
    }
    return place < count ? place : -1;
  }

  /**
   * Java's second compiler makes vectors of the loop, as it does not of {@link Math#exp}: e to the
   * power of x is the 128th power of that of x / 128, for which a few terms are enough.
   */
  static void powersOfTwo(float[] powers, int count, float[] out) {
    for (int i = 0; i < count; i++) {
      double x = Math.max(powers[i], RowKernel.LOWEST_POWER) * (LOG_2 / 128);
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

  static void mark(WeightedIds list, int from, int count, long key, float bound, IntArray marks) {
    int[] ids = list.ids().values();
    float[] powers = list.powers().values();
    for (int first = 0; first < count; first += Integer.SIZE) {
      int bits = 0;
      for (int i = 0; i < Integer.SIZE; i++) {
        int at = from + first + i;
        int zeros = Long.numberOfLeadingZeros(SplitMix.mixed(key + SplitMix.GOLDEN * ids[at]));
        bits |= zeros + powers[at] > bound ? 1 << i : 0;
      }
      marks.values()[first / Integer.SIZE] = bits;
    }
  }
}
