package org.eellm.kernel.vector;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/**
 * Vectors of float32 numbers from and to native memory, where they may lie as bfloat16.
 *
 * <p>A method that uses these holds one short loop. Beyond some forty vector operations the JVM's
 * compiler inlines no more of these methods into it, and every call then allocates its vectors.
 *
 * <p>It may also inline such a method into one that has used up its budget, with the same effect:
 * that depends on what else has been compiled by then. So what decoding runs for every token is
 * written out, without a method of ours that takes or returns vectors, and so long that it is never
 * inlined: beyond {@link #INLINED_BYTES} of bytecode, by unrolled loops. WrittenOutTest tells.
 */
public final class Lanes {
  public static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;

  public static final int WIDTH = FLOATS.length();

  /** Bytes of bytecode up to which the JVM inlines what runs often (its FreqInlineSize). */
  public static final int INLINED_BYTES = 325;

  public static final VectorSpecies<Integer> INTS = IntVector.SPECIES_PREFERRED;
  public static final VectorSpecies<Short> SHORTS =
      VectorSpecies.of(short.class, VectorShape.forBitSize(FLOATS.vectorBitSize() / 2));
  public static final VectorShuffle<Float> ROTATE_1 = VectorShuffle.iota(FLOATS, 1, 1, true);
  public static final VectorShuffle<Float> ROTATE_2 = VectorShuffle.iota(FLOATS, 2, 1, true);
  public static final VectorShuffle<Float> ROTATE_4 = VectorShuffle.iota(FLOATS, 4, 1, true);
  public static final VectorShuffle<Float> ROTATE_8 = VectorShuffle.iota(FLOATS, 8, 1, true);

  private static final FloatVector LOWEST = broadcast(-87.3f);
  private static final FloatVector HIGHEST = broadcast(88.3f);
  private static final FloatVector ONE = broadcast(1);
  private static final FloatVector LOG2_E = broadcast(1.44269504f);
  private static final FloatVector ROUND = broadcast(12582912f);
  private static final FloatVector LN_2_HIGH = broadcast(-0.693359375f);
  private static final FloatVector LN_2_LOW = broadcast(2.12194440e-4f);
  private static final FloatVector C2 = broadcast(5.0000001201e-1f);
  private static final FloatVector C3 = broadcast(1.6666665459e-1f);
  private static final FloatVector C4 = broadcast(4.1665795894e-2f);
  private static final FloatVector C5 = broadcast(8.3334519073e-3f);
  private static final FloatVector C6 = broadcast(1.3981999507e-3f);
  private static final FloatVector C7 = broadcast(1.9875691500e-4f);

  private Lanes() {}

  /** {@link #WIDTH} bfloat16 numbers. */
  public static FloatVector load(long address) {
    return ((IntVector)
            ShortVector.fromMemorySegment(
                    SHORTS, NativeNumbers.MEMORY, address, NativeNumbers.ORDER)
                .convertShape(VectorOperators.ZERO_EXTEND_S2I, INTS, 0))
        .lanewise(VectorOperators.LSHL, 16)
        .reinterpretAsFloats();
  }

  /**
   * Stores as bfloat16, rounded to nearest, ties to even. A NaN that arithmetic makes stays one.
   */
  public static void store(FloatVector x, long address) {
    IntVector bits = x.reinterpretAsInts();
    IntVector odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
    ((ShortVector)
            bits.add(0x7FFF)
                .add(odd)
                .lanewise(VectorOperators.LSHR, 16)
                .convertShape(VectorOperators.I2S, SHORTS, 0))
        .intoMemorySegment(NativeNumbers.MEMORY, address, NativeNumbers.ORDER);
  }

  public static FloatVector loadFloats(long address) {
    return FloatVector.fromMemorySegment(
        FLOATS, NativeNumbers.MEMORY, address, NativeNumbers.ORDER);
  }

  public static void storeFloats(FloatVector x, long address) {
    x.intoMemorySegment(NativeNumbers.MEMORY, address, NativeNumbers.ORDER);
  }

  /**
   * {@code e^x} within 2 units in the last place; at least 1e-38 and at most 1e38. NaN stays NaN.
   */
  public static FloatVector exp(FloatVector x) {
    return boundedExp(
        x.blend(LOWEST, x.compare(VectorOperators.LT, LOWEST))
            .blend(HIGHEST, x.compare(VectorOperators.GT, HIGHEST)));
  }

  /** {@link #exp} for {@code x <= 0}. */
  public static FloatVector expOfNegative(FloatVector x) {
    return boundedExp(x.blend(LOWEST, x.compare(VectorOperators.LT, LOWEST)));
  }

  private static FloatVector boundedExp(FloatVector bounded) {
    // x = n ln 2 + r with |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to an integer in the low bits.
    FloatVector shifted = bounded.fma(LOG2_E, ROUND);
    FloatVector n = shifted.sub(ROUND);
    FloatVector r = n.fma(LN_2_LOW, n.fma(LN_2_HIGH, bounded));
    FloatVector p = C7.fma(r, C6).fma(r, C5).fma(r, C4).fma(r, C3).fma(r, C2);
    return p.fma(r.mul(r), r).add(ONE).mul(powerOf2(shifted));
  }

  /** 2^n of what 1.5 * 2^23 was added to. */
  private static FloatVector powerOf2(FloatVector shifted) {
    return shifted
        .reinterpretAsInts()
        .add(127 - 0x4B400000)
        .lanewise(VectorOperators.LSHL, 23)
        .reinterpretAsFloats();
  }

  public static FloatVector sigmoid(FloatVector x) {
    return ONE.div(exp(x.neg()).add(ONE));
  }

  /**
   * The sum of all numbers. Its order is fixed, unlike that of {@code reduceLanes}, so that results
   * do not change when the JVM compiles a kernel.
   */
  public static float sum(FloatVector x) {
    FloatVector sums = x.add(x.rearrange(ROTATE_1));
    sums = sums.add(sums.rearrange(ROTATE_2));
    if (WIDTH > 4) {
      sums = sums.add(sums.rearrange(ROTATE_4));
    }
    if (WIDTH > 8) {
      sums = sums.add(sums.rearrange(ROTATE_8));
    }
    return sums.lane(0);
  }

  public static FloatVector broadcast(float value) {
    return FloatVector.broadcast(FLOATS, value);
  }
}
