package org.eellm.kernel;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static org.eellm.kernel.vector.NativeNumbers.MEMORY;

import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.WeightFormat;

/**
 * How a head's keys and values of {@link #POSITIONS} positions lie in memory: as packed matrices.
 * Keys [width / g][16][g], so that a query meets 16 positions at once; values [16 / g][width][g].
 * In 8 bits, bytes with a sign, each position's key has a scale, and its value another: 16 scales
 * of keys, then of values, in float32, follow. Pages need not follow each other.
 *
 * @param format float32, bfloat16 or 8 bits
 */
public record PageLayout(WeightFormat format, int width) {
  /** Positions of a page. */
  public static final int POSITIONS = 16;

  public PageLayout {
    if (format == WeightFormat.INT4) {
      throw new IllegalArgumentException("keys and values have 8 bits at least");
    }
  }

  int keySteps() {
    return Math.ceilDiv(width, format.inputsTogether());
  }

  /** Numbers of a value in memory: whole vectors. */
  public int valueWidth() {
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

  /** Address of the group of values that a position of a page is in. */
  long valueOf(long page, int offset) {
    return page + keyBytes() + offset / format.inputsTogether() * valueStepBytes();
  }

  /** From a page to the scales of its keys, in bytes; those of its values follow. */
  long scalesAt() {
    return keyBytes() + POSITIONS / format.inputsTogether() * valueStepBytes();
  }

  boolean hasScales() {
    return format == WeightFormat.INT8;
  }

  /** Bytes of a page: keys, then values, then their scales. */
  public long bytes() {
    return scalesAt() + (hasScales() ? 2L * Float.BYTES * POSITIONS : 0);
  }

  /**
   * Writes a value and the scales in 8 bits, and the key's bytes to the scratch, not to the page.
   */
  void writeBytes(long page, int offset, float[] key, long value, long scratch) {
    long values = valueOf(page, offset);
    float keyScale = scale(largest(key));
    for (int i = 0; i < width; i++) {
      MEMORY.set(JAVA_BYTE, scratch + i, rounded(key[i], keyScale));
    }
    for (int i = width; i < 4 * keySteps(); i++) {
      MEMORY.set(JAVA_BYTE, scratch + i, (byte) 0);
    }
    float most = 0;
    for (int i = 0; i < width; i++) {
      most = Math.max(most, Math.abs(NativeNumbers.getFloat(value + 4L * i)));
    }
    float valueScale = scale(most);
    for (int i = 0; i < width; i++) {
      byte number = rounded(NativeNumbers.getFloat(value + 4L * i), valueScale);
      MEMORY.set(JAVA_BYTE, values + 4L * i + offset % 4, number);
    }
    NativeNumbers.putFloat(keyScale, page + scalesAt() + 4L * offset);
    NativeNumbers.putFloat(valueScale, page + scalesAt() + 4L * (POSITIONS + offset));
  }

  /** Copies a page; of values, only those of its first so many positions. */
  void copyUntil(long page, int positions, long to) {
    MEMORY.asSlice(to, bytes()).copyFrom(MEMORY.asSlice(page, bytes()));
    int together = format.inputsTogether();
    int bits = Integer.SIZE / together;
    for (int position = positions; position < POSITIONS; position++) {
      long step = to + keyBytes() + position / together * valueStepBytes();
      int earlier = (int) ((1L << bits * (position % together)) - 1); // of the group
      for (int i = 0; i < valueWidth(); i++) {
        long at = step + 4L * i;
        MEMORY.set(JAVA_INT_UNALIGNED, at, MEMORY.get(JAVA_INT_UNALIGNED, at) & earlier);
      }
    }
  }

  private static float largest(float[] numbers) {
    float most = 0;
    for (float number : numbers) {
      most = Math.max(most, Math.abs(number));
    }
    return most;
  }

  /** NaN where a number is none, so that what attends to the position shows it. */
  private static float scale(float most) {
    return most / Byte.MAX_VALUE;
  }

  private static byte rounded(float number, float scale) {
    return (byte) (scale == 0 ? 0 : Math.round(number / scale));
  }

  void readScales(long page, long keys, long values) {
    FloatArithmetic.copy(page + scalesAt(), keys, POSITIONS);
    FloatArithmetic.copy(page + scalesAt() + 4L * POSITIONS, values, POSITIONS);
  }
}
