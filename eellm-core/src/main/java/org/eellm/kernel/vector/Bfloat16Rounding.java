package org.eellm.kernel.vector;

/** Rows rounded to bfloat16, to nearest, ties to even. A NaN that arithmetic makes stays one. */
public final class Bfloat16Rounding {
  private Bfloat16Rounding() {}

  /** A rounded number. */
  static float rounded(float x) {
    return Float.intBitsToFloat(NativeNumbers.bfloat16(x) << 16);
  }

  /** Rounds numbers of an array into another. */
  public static void round(float[] x, int from, int count, float[] to, int at) {
    for (int i = 0; i < count; i++) {
      to[at + i] = rounded(x[from + i]);
    }
  }

  /**
   * Stores numbers of an array as bfloat16.
   *
   * @param to address
   */
  public static void store(float[] x, int from, int count, long to) {
    for (int i = 0; i < count; i++) {
      NativeNumbers.put(x[from + i], to + 2L * i);
    }
  }

  /** Stores numbers in memory as bfloat16. */
  public static void store(long x, int count, long to) {
    for (int i = 0; i < count; i++) {
      NativeNumbers.put(NativeNumbers.getFloat(x + 4L * i), to + 2L * i);
    }
  }

  /**
   * Stores numbers as bfloat16, each in one half of 32 bits: in the first half, with the second one
   * cleared, so that nothing that was there before may meet a factor of 0 (it might be a NaN); or
   * in the second, with the first one as it was.
   *
   * @param x address of float32 numbers
   * @param which half, 0 or 1
   */
  public static void storeHalves(long x, int count, int which, long to) {
    for (int i = 0; i < count; i++) {
      NativeNumbers.put(NativeNumbers.getFloat(x + 4L * i), to + 4L * i + 2L * which);
      if (which == 0) {
        NativeNumbers.put(0, to + 4L * i + 2);
      }
    }
  }
}
