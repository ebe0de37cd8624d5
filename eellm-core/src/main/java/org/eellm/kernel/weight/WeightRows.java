package org.eellm.kernel.weight;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static org.eellm.kernel.vector.NativeNumbers.MEMORY;

import java.lang.foreign.MemorySegment;
import org.eellm.kernel.vector.NativeNumbers;

/** Rows of a matrix before they are packed, or some columns of them; a vector is one row. */
public sealed interface WeightRows permits StoredRows, DecodedRows {

  int rows();

  int columns();

  WeightRows rows(int first, int count);

  WeightRows columns(int first, int count);

  /**
   * Reads a row as float32 to a place in an array.
   *
   * @param at the first number's
   */
  void read(int row, float[] to, int at);

  /** Writes a row in a format without groups. */
  default void write(int row, WeightFormat format, long to) {
    float[] numbers = new float[columns()];
    read(row, numbers, 0);
    switch (format) {
      case FLOAT32 ->
          MemorySegment.copy(numbers, 0, MEMORY, JAVA_FLOAT_UNALIGNED, to, numbers.length);
      case BFLOAT16 -> {
        short[] bits = new short[numbers.length];
        for (int i = 0; i < bits.length; i++) {
          bits[i] = NativeNumbers.bfloat16(numbers[i]);
        }
        MemorySegment.copy(bits, 0, MEMORY, JAVA_SHORT_UNALIGNED, to, bits.length);
      }
      case INT8, INT4 -> throw new IllegalArgumentException("groups are rounded by blocks");
    }
  }

  /** All numbers as float32, row by row. */
  default float[] floats() {
    float[] all = new float[Math.multiplyExact(rows(), columns())];
    for (int row = 0; row < rows(); row++) {
      read(row, all, row * columns());
    }
    return all;
  }
}
