package org.eellm.gguf;

import java.lang.foreign.MemorySegment;
import java.util.function.IntUnaryOperator;

/**
 * Quantised rows of a matrix as they lie in a GGUF file, perhaps in another order than they are
 * meant.
 *
 * <p>Of {@link GgufType#Q8_0} and {@link GgufType#Q4_0} the groups can be had as they are, by
 * {@link #row}: each has a float16 scale and 32 numbers, of Q4_0 the first 16 in the low halves of
 * the bytes and the last 16 in the high ones.
 *
 * @param rows how many
 * @param columns numbers of a row
 * @param bytes the file's rows, one behind the other
 * @param order the file's row for each of ours
 */
public record GgufRows(
    GgufType type, int rows, int columns, MemorySegment bytes, IntUnaryOperator order) {

  /** The bytes of one of our rows, as the file has them: groups of {@link #type}. */
  public MemorySegment row(int row) {
    long rowBytes = type.rowBytes(columns);
    return bytes.asSlice(order.applyAsInt(row) * rowBytes, rowBytes);
  }

  /** Bytes of one of our rows' numbers as float32. */
  public long valueBytes() {
    return (long) columns * Float.BYTES;
  }

  /** Makes float32 of one of our rows' quantised numbers. */
  public void read(int row, float[] values) {
    GgmlDequantizer.decode(type, row(row), values);
  }

  /** Writes all numbers into memory as float32, row by row. */
  public void read(MemorySegment into) {
    long width = valueBytes();
    float[] values = new float[columns];
    for (int row = 0; row < rows; row++) {
      read(row, values);
      into.asSlice(row * width, width).copyFrom(MemorySegment.ofArray(values));
    }
  }
}
