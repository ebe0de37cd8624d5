package org.eellm.kernel.vector;

import static org.eellm.kernel.vector.Lanes.FLOATS;
import static org.eellm.kernel.vector.Lanes.INTS;
import static org.eellm.kernel.vector.Lanes.SHORTS;
import static org.eellm.kernel.vector.NativeNumbers.MEMORY;
import static org.eellm.kernel.vector.NativeNumbers.ORDER;
import static org.eellm.kernel.vector.NativeNumbers.WIDTH;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Rows rounded to bfloat16, to nearest, ties to even. A NaN that arithmetic makes stays one. What
 * works on vectors is written out (see {@link Lanes}).
 */
public final class Bfloat16Rounding {
  private static final int HALF = 0x7FFF;
  private static final int UPPER = 0xFFFF0000;

  private Bfloat16Rounding() {}

  /** A rounded number. */
  static float rounded(float x) {
    return Float.intBitsToFloat(NativeNumbers.bfloat16(x) << 16);
  }

  /** Rounds numbers of an array into another. */
  public static void round(float[] x, int from, int count, float[] to, int at) {
    int whole = count - count % WIDTH;
    int fours = count - count % (4 * WIDTH);
    for (int i = 0; i < fours; i += 4 * WIDTH) {
      int source = from + i;
      int target = at + i;
      IntVector bits = FloatVector.fromArray(FLOATS, x, source).reinterpretAsInts();
      IntVector odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
      bits.add(HALF).add(odd).and(UPPER).reinterpretAsFloats().intoArray(to, target);
      bits = FloatVector.fromArray(FLOATS, x, source + WIDTH).reinterpretAsInts();
      odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
      bits.add(HALF).add(odd).and(UPPER).reinterpretAsFloats().intoArray(to, target + WIDTH);
      bits = FloatVector.fromArray(FLOATS, x, source + 2 * WIDTH).reinterpretAsInts();
      odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
      bits.add(HALF).add(odd).and(UPPER).reinterpretAsFloats().intoArray(to, target + 2 * WIDTH);
      bits = FloatVector.fromArray(FLOATS, x, source + 3 * WIDTH).reinterpretAsInts();
      odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
      bits.add(HALF).add(odd).and(UPPER).reinterpretAsFloats().intoArray(to, target + 3 * WIDTH);
    }
    for (int i = fours; i < whole; i += WIDTH) {
      IntVector bits = FloatVector.fromArray(FLOATS, x, from + i).reinterpretAsInts();
      IntVector odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
      bits.add(HALF).add(odd).and(UPPER).reinterpretAsFloats().intoArray(to, at + i);
    }
    for (int i = whole; i < count; i++) {
      to[at + i] = rounded(x[from + i]);
    }
  }

  /**
   * Stores numbers of an array as bfloat16.
   *
   * @param to address
   */
  public static void store(float[] x, int from, int count, long to) {
    int whole = count - count % WIDTH;
    int fours = count - count % (4 * WIDTH);
    for (int i = 0; i < fours; i += 4 * WIDTH) {
      int source = from + i;
      long target = to + 2L * i;
      IntVector bits = FloatVector.fromArray(FLOATS, x, source).reinterpretAsInts();
      IntVector odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
      bits.add(HALF)
          .add(odd)
          .lanewise(VectorOperators.LSHR, 16)
          .convertShape(VectorOperators.I2S, SHORTS, 0)
          .intoMemorySegment(MEMORY, target, ORDER);
      bits = FloatVector.fromArray(FLOATS, x, source + WIDTH).reinterpretAsInts();
      odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
      bits.add(HALF)
          .add(odd)
          .lanewise(VectorOperators.LSHR, 16)
          .convertShape(VectorOperators.I2S, SHORTS, 0)
          .intoMemorySegment(MEMORY, target + 2L * WIDTH, ORDER);
      bits = FloatVector.fromArray(FLOATS, x, source + 2 * WIDTH).reinterpretAsInts();
      odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
      bits.add(HALF)
          .add(odd)
          .lanewise(VectorOperators.LSHR, 16)
          .convertShape(VectorOperators.I2S, SHORTS, 0)
          .intoMemorySegment(MEMORY, target + 4L * WIDTH, ORDER);
      bits = FloatVector.fromArray(FLOATS, x, source + 3 * WIDTH).reinterpretAsInts();
      odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
      bits.add(HALF)
          .add(odd)
          .lanewise(VectorOperators.LSHR, 16)
          .convertShape(VectorOperators.I2S, SHORTS, 0)
          .intoMemorySegment(MEMORY, target + 6L * WIDTH, ORDER);
    }
    for (int i = fours; i < whole; i += WIDTH) {
      IntVector bits = FloatVector.fromArray(FLOATS, x, from + i).reinterpretAsInts();
      IntVector odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
      bits.add(HALF)
          .add(odd)
          .lanewise(VectorOperators.LSHR, 16)
          .convertShape(VectorOperators.I2S, SHORTS, 0)
          .intoMemorySegment(MEMORY, to + 2L * i, ORDER);
    }
    for (int i = whole; i < count; i++) {
      NativeNumbers.put(x[from + i], to + 2L * i);
    }
  }

  /** Stores numbers in memory as bfloat16, one at a time. */
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
    int whole = count - count % WIDTH;
    int pairs = which == 0 ? count - count % (2 * WIDTH) : 0;
    for (int i = 0; i < pairs; i += 2 * WIDTH) {
      long source = x + 4L * i;
      long target = to + 4L * i;
      IntVector bits = IntVector.fromMemorySegment(INTS, MEMORY, source, ORDER);
      IntVector odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
      bits.add(HALF)
          .add(odd)
          .lanewise(VectorOperators.LSHR, 16)
          .intoMemorySegment(MEMORY, target, ORDER);
      bits = IntVector.fromMemorySegment(INTS, MEMORY, source + NativeNumbers.BYTES, ORDER);
      odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
      bits.add(HALF)
          .add(odd)
          .lanewise(VectorOperators.LSHR, 16)
          .intoMemorySegment(MEMORY, target + NativeNumbers.BYTES, ORDER);
    }
    for (int i = pairs; i < whole; i += WIDTH) {
      IntVector bits = IntVector.fromMemorySegment(INTS, MEMORY, x + 4L * i, ORDER);
      IntVector odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
      IntVector rounded = bits.add(HALF).add(odd).and(UPPER);
      if (which == 0) {
        rounded.lanewise(VectorOperators.LSHR, 16).intoMemorySegment(MEMORY, to + 4L * i, ORDER);
      } else {
        IntVector.fromMemorySegment(INTS, MEMORY, to + 4L * i, ORDER)
            .and(0xFFFF)
            .or(rounded)
            .intoMemorySegment(MEMORY, to + 4L * i, ORDER);
      }
    }
    for (int i = whole; i < count; i++) {
      NativeNumbers.put(NativeNumbers.getFloat(x + 4L * i), to + 4L * i + 2L * which);
      if (which == 0) {
        NativeNumbers.put(0, to + 4L * i + 2);
      }
    }
  }
}
