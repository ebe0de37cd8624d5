package org.eellm.kernel;

import java.util.Arrays;
import org.eellm.kernel.machine.RowFunctions;
import org.eellm.kernel.vector.FloatArray;

/**
 * What drawing a token does with each id of a vocabulary. Machine code, where the processor takes
 * it, gives what Java's loops give, to the bit; of 0 and -0, a number may be either.
 *
 * <p>Arrays have room for a multiple of 16 numbers; what is behind the last that counts may change.
 */
public final class SamplingArithmetic {
  private static final int LANES = 16;
  private static final double LOG_2 = Math.log(2);

  private SamplingArithmetic() {}

  private static int room(int count) {
    return Math.ceilDiv(count, LANES) * LANES;
  }

  /**
   * Puts {@code factor (x - largest)} in the place of each x.
   *
   * @param x no NaN and no infinity, but negative ones
   * @param count at least one
   * @param factor above 0
   * @return the largest one's place, the first among equals
   * @throws IllegalArgumentException if there is no largest number, all finite
   */
  public static int scale(FloatArray x, int count, float factor) {
    if (RowFunctions.work()) {
      Arrays.fill(x.values(), count, room(count), Float.NEGATIVE_INFINITY);
      return requireLargest(RowFunctions.scale(x, room(count), factor), count);
    }
    return scaleByJava(x.values(), count, factor);
  }

  private static int requireLargest(int place, int count) {
    if (place < 0) {
      throw new IllegalArgumentException(
          "of %d numbers none is finite and the largest".formatted(count));
    }
    return place;
  }

  static int scaleByJava(float[] x, int count, float factor) {
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
    return requireLargest(place < count ? place : -1, count);
  }

  /** Writes 2 to the power of each. */
  public static void powersOfTwo(FloatArray powers, int count, FloatArray out) {
    if (RowFunctions.work()) {
      RowFunctions.powersOfTwo(powers, room(count), out);
    } else {
      powersByJava(powers.values(), count, out.values());
    }
  }

  /**
   * Java's second compiler makes vectors of the loop, as it does not of {@link Math#exp}: e to the
   * power of x is the 128th power of that of x / 128, for which a few terms are enough.
   */
  static void powersByJava(float[] powers, int count, float[] out) {
    for (int i = 0; i < count; i++) {
      double x = Math.max(powers[i], RowFunctions.LOWEST_POWER) * (LOG_2 / 128);
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
}
