package org.eellm.kernel;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static org.eellm.kernel.vector.Lanes.MEMORY;

import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import org.eellm.kernel.product.RowArithmetic;
import org.eellm.kernel.vector.Bfloat16Rounding;
import org.eellm.kernel.vector.Lanes;
import org.eellm.kernel.weight.WeightFormat;

/**
 * How a head's keys and values of {@link #POSITIONS} positions lie in memory: as packed matrices.
 * Keys [width / g][16][g], so that a query meets 16 positions at once; values [16 / g][width][g].
 * Pages need not follow each other.
 *
 * @param format float32 or bfloat16
 * @param width of a head
 */
public record PageLayout(WeightFormat format, int width) {
  /** Positions of a page. */
  public static final int POSITIONS = 16;

  public PageLayout {
    if (format.hasGroups()) {
      throw new IllegalArgumentException("keys and values are float32 or bfloat16");
    }
  }

  /** Groups of a key's numbers. */
  int keySteps() {
    return Math.ceilDiv(width, format.inputsTogether());
  }

  /** Numbers of a value in memory: whole vectors. */
  int valueWidth() {
    return Math.ceilDiv(width, POSITIONS) * POSITIONS;
  }

  /** From a group of positions' values to the next, in bytes. */
  long valueStepBytes() {
    return 4L * valueWidth();
  }

  /** From the keys of a page to its values, in bytes. */
  long keyBytes() {
    return 4L * POSITIONS * keySteps();
  }

  /** Bytes of a page: keys, then values. */
  public long bytes() {
    return keyBytes() + POSITIONS / format.inputsTogether() * valueStepBytes();
  }

  /**
   * Writes a position's key and value. Positions are written in order.
   *
   * @param page address
   * @param offset of the position in it
   * @param key [width]
   * @param value address, float32
   * @param scratch address of room for a key in bfloat16, in whole pairs
   */
  public void write(long page, int offset, float[] key, long value, long scratch) {
    long keys = page + 4L * offset;
    long values = page + keyBytes() + offset / format.inputsTogether() * valueStepBytes();
    switch (format) {
      case FLOAT32 -> {
        for (int i = 0; i < width; i++) {
          Lanes.putFloat(key[i], keys + 4L * POSITIONS * i);
        }
        RowArithmetic.copy(value, values, width);
      }
      case BFLOAT16 -> {
        Bfloat16Rounding.store(key, 0, width, scratch);
        if (width % 2 == 1) {
          Lanes.put(0, scratch + 2L * width);
        }
        spread(scratch, keySteps(), page, offset);
        Bfloat16Rounding.storeHalves(value, width, offset % 2, values);
      }
      case INT8, INT4 -> throw new IllegalStateException();
    }
  }

  /**
   * Spreads pairs over vectors of pairs, a position's each. Whole vectors are read and written:
   * what attention reads next then comes from memory all at once, and where memory is slow the
   * reads wait together. Written out (see {@link Lanes}).
   */
  private static void spread(long pairs, int count, long page, int offset) {
    long to = page + 4L * (offset / Lanes.WIDTH * Lanes.WIDTH);
    VectorMask<Integer> place =
        IntVector.zero(Lanes.INTS).addIndex(1).compare(VectorOperators.EQ, offset % Lanes.WIDTH);
    int fours = count - count % 4;
    for (int i = 0; i < fours; i += 4) {
      long at = to + 4L * POSITIONS * i;
      long from = pairs + 4L * i;
      IntVector a = IntVector.fromMemorySegment(Lanes.INTS, MEMORY, at, Lanes.ORDER);
      IntVector b =
          IntVector.fromMemorySegment(Lanes.INTS, MEMORY, at + 4L * POSITIONS, Lanes.ORDER);
      IntVector c =
          IntVector.fromMemorySegment(Lanes.INTS, MEMORY, at + 8L * POSITIONS, Lanes.ORDER);
      IntVector d =
          IntVector.fromMemorySegment(Lanes.INTS, MEMORY, at + 12L * POSITIONS, Lanes.ORDER);
      a.blend(MEMORY.get(JAVA_INT_UNALIGNED, from), place)
          .intoMemorySegment(MEMORY, at, Lanes.ORDER);
      b.blend(MEMORY.get(JAVA_INT_UNALIGNED, from + 4), place)
          .intoMemorySegment(MEMORY, at + 4L * POSITIONS, Lanes.ORDER);
      c.blend(MEMORY.get(JAVA_INT_UNALIGNED, from + 8), place)
          .intoMemorySegment(MEMORY, at + 8L * POSITIONS, Lanes.ORDER);
      d.blend(MEMORY.get(JAVA_INT_UNALIGNED, from + 12), place)
          .intoMemorySegment(MEMORY, at + 12L * POSITIONS, Lanes.ORDER);
    }
    for (int i = fours; i < count; i++) {
      long at = to + 4L * POSITIONS * i;
      IntVector.fromMemorySegment(Lanes.INTS, MEMORY, at, Lanes.ORDER)
          .blend(MEMORY.get(JAVA_INT_UNALIGNED, pairs + 4L * i), place)
          .intoMemorySegment(MEMORY, at, Lanes.ORDER);
    }
  }

  /** Reads what was written of a position's key, for tests. */
  public void readKey(long page, int offset, float[] out) {
    for (int i = 0; i < width; i++) {
      out[i] =
          format == WeightFormat.FLOAT32
              ? Lanes.getFloat(page + 4L * (POSITIONS * i + offset))
              : Lanes.get(page + 4L * (i / 2 * POSITIONS + offset) + 2 * (i % 2));
    }
  }

  /** Reads what was written of a position's value, for tests. */
  public void readValue(long page, int offset, float[] out) {
    long values = page + keyBytes();
    for (int i = 0; i < width; i++) {
      out[i] =
          format == WeightFormat.FLOAT32
              ? Lanes.getFloat(values + offset * valueStepBytes() + 4L * i)
              : Lanes.get(values + offset / 2 * valueStepBytes() + 4L * i + 2 * (offset % 2));
    }
  }
}
