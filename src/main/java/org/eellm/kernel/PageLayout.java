package org.eellm.kernel;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static org.eellm.kernel.Lanes.MEMORY;

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
    if (format == WeightFormat.INT8) {
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
   */
  public void write(long page, int offset, float[] key, long value) {
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
        writePairs(key, keys);
        Rounding.storeHalves(value, width, offset % 2, values);
      }
      case INT8 -> throw new IllegalStateException();
    }
  }

  private void writePairs(float[] key, long keys) {
    for (int i = 0; i + 1 < width; i += 2) {
      int pair = Lanes.bfloat16(key[i]) & 0xFFFF | Lanes.bfloat16(key[i + 1]) << 16;
      MEMORY.set(JAVA_INT_UNALIGNED, keys + 2L * POSITIONS * i, pair);
    }
    if (width % 2 == 1) {
      int last = Lanes.bfloat16(key[width - 1]) & 0xFFFF;
      MEMORY.set(JAVA_INT_UNALIGNED, keys + 2L * POSITIONS * (width - 1), last);
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
