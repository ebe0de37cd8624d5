package org.eellm.kernel;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static org.eellm.kernel.vector.Lanes.INTS;
import static org.eellm.kernel.vector.NativeNumbers.MEMORY;
import static org.eellm.kernel.vector.NativeNumbers.ORDER;
import static org.eellm.kernel.vector.NativeNumbers.WIDTH;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.vector.Bfloat16Rounding;
import org.eellm.kernel.vector.Lanes;
import org.eellm.kernel.vector.NativeNumbers;

/** Rotates heads, and writes keys and values to pages, by the Vector API. */
final class VectorPages {
  private VectorPages() {}

  /**
   * Writes a position's key and value. Positions are written in order.
   *
   * @param page address
   * @param offset of the position in it
   * @param key [width]
   * @param value address of [width], float32
   * @param scratch address of room for a key in the format, in whole groups
   */
  static void write(
      PageLayout layout, long page, int offset, float[] key, long value, long scratch) {
    long keys = page + 4L * offset;
    long values = layout.valueOf(page, offset);
    switch (layout.format()) {
      case FLOAT32 -> {
        for (int i = 0; i < layout.width(); i++) {
          NativeNumbers.putFloat(key[i], keys + 4L * PageLayout.POSITIONS * i);
        }
        FloatArithmetic.copy(value, values, layout.width());
      }
      case BFLOAT16 -> {
        Bfloat16Rounding.store(key, 0, layout.width(), scratch);
        if (layout.width() % 2 == 1) {
          NativeNumbers.put(0, scratch + 2L * layout.width());
        }
        spread(scratch, layout.keySteps(), page, offset);
        Bfloat16Rounding.storeHalves(value, layout.width(), offset % 2, values);
      }
      case INT8 -> {
        layout.writeBytes(page, offset, key, value, scratch);
        spread(scratch, layout.keySteps(), page, offset);
      }
      case INT4 -> throw new IllegalStateException();
    }
  }

  /**
   * Spreads groups of numbers over vectors of groups, a position's each. Whole vectors are read and
   * written: what attention reads next then comes from memory all at once, and where memory is slow
   * the reads wait together. Written out (see {@link Lanes}).
   */
  private static void spread(long pairs, int count, long page, int offset) {
    long to = page + 4L * (offset / WIDTH * WIDTH);
    VectorMask<Integer> place =
        IntVector.zero(INTS).addIndex(1).compare(VectorOperators.EQ, offset % WIDTH);
    int fours = count - count % 4;
    for (int i = 0; i < fours; i += 4) {
      long at = to + 4L * PageLayout.POSITIONS * i;
      long from = pairs + 4L * i;
      IntVector a = IntVector.fromMemorySegment(INTS, MEMORY, at, ORDER);
      IntVector b =
          IntVector.fromMemorySegment(INTS, MEMORY, at + 4L * PageLayout.POSITIONS, ORDER);
      IntVector c =
          IntVector.fromMemorySegment(INTS, MEMORY, at + 8L * PageLayout.POSITIONS, ORDER);
      IntVector d =
          IntVector.fromMemorySegment(INTS, MEMORY, at + 12L * PageLayout.POSITIONS, ORDER);
      a.blend(MEMORY.get(JAVA_INT_UNALIGNED, from), place).intoMemorySegment(MEMORY, at, ORDER);
      b.blend(MEMORY.get(JAVA_INT_UNALIGNED, from + 4), place)
          .intoMemorySegment(MEMORY, at + 4L * PageLayout.POSITIONS, ORDER);
      c.blend(MEMORY.get(JAVA_INT_UNALIGNED, from + 8), place)
          .intoMemorySegment(MEMORY, at + 8L * PageLayout.POSITIONS, ORDER);
      d.blend(MEMORY.get(JAVA_INT_UNALIGNED, from + 12), place)
          .intoMemorySegment(MEMORY, at + 12L * PageLayout.POSITIONS, ORDER);
    }
    for (int i = fours; i < count; i++) {
      long at = to + 4L * PageLayout.POSITIONS * i;
      IntVector.fromMemorySegment(INTS, MEMORY, at, ORDER)
          .blend(MEMORY.get(JAVA_INT_UNALIGNED, pairs + 4L * i), place)
          .intoMemorySegment(MEMORY, at, ORDER);
    }
  }

  /** Rotates pairs of numbers. Written out (see {@link Lanes}). */
  static void rotate(long first, long second, long cosines, long sines, int count) {
    VectorSpecies<Float> floats = Lanes.FLOATS;
    int whole = count - count % NativeNumbers.WIDTH;
    int pairs = count - count % (2 * NativeNumbers.WIDTH);
    for (int i = 0; i < pairs; i += 2 * NativeNumbers.WIDTH) {
      long at = 4L * i;
      FloatVector cos = FloatVector.fromMemorySegment(floats, MEMORY, cosines + at, ORDER);
      FloatVector sin = FloatVector.fromMemorySegment(floats, MEMORY, sines + at, ORDER);
      FloatVector a = FloatVector.fromMemorySegment(floats, MEMORY, first + at, ORDER);
      FloatVector b = FloatVector.fromMemorySegment(floats, MEMORY, second + at, ORDER);
      a.mul(cos).sub(b.mul(sin)).intoMemorySegment(MEMORY, first + at, ORDER);
      b.mul(cos).add(a.mul(sin)).intoMemorySegment(MEMORY, second + at, ORDER);
      at += NativeNumbers.BYTES;
      cos = FloatVector.fromMemorySegment(floats, MEMORY, cosines + at, ORDER);
      sin = FloatVector.fromMemorySegment(floats, MEMORY, sines + at, ORDER);
      a = FloatVector.fromMemorySegment(floats, MEMORY, first + at, ORDER);
      b = FloatVector.fromMemorySegment(floats, MEMORY, second + at, ORDER);
      a.mul(cos).sub(b.mul(sin)).intoMemorySegment(MEMORY, first + at, ORDER);
      b.mul(cos).add(a.mul(sin)).intoMemorySegment(MEMORY, second + at, ORDER);
    }
    for (int i = pairs; i < whole; i += NativeNumbers.WIDTH) {
      long at = 4L * i;
      FloatVector cos = FloatVector.fromMemorySegment(floats, MEMORY, cosines + at, ORDER);
      FloatVector sin = FloatVector.fromMemorySegment(floats, MEMORY, sines + at, ORDER);
      FloatVector a = FloatVector.fromMemorySegment(floats, MEMORY, first + at, ORDER);
      FloatVector b = FloatVector.fromMemorySegment(floats, MEMORY, second + at, ORDER);
      a.mul(cos).sub(b.mul(sin)).intoMemorySegment(MEMORY, first + at, ORDER);
      b.mul(cos).add(a.mul(sin)).intoMemorySegment(MEMORY, second + at, ORDER);
    }
    for (int i = whole; i < count; i++) {
      float cos = NativeNumbers.getFloat(cosines + 4L * i);
      float sin = NativeNumbers.getFloat(sines + 4L * i);
      float a = NativeNumbers.getFloat(first + 4L * i);
      float b = NativeNumbers.getFloat(second + 4L * i);
      NativeNumbers.putFloat(a * cos - b * sin, first + 4L * i);
      NativeNumbers.putFloat(b * cos + a * sin, second + 4L * i);
    }
  }
}
