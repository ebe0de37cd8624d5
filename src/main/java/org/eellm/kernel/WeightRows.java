package org.eellm.kernel;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static org.eellm.kernel.Lanes.MEMORY;

import java.lang.foreign.MemorySegment;

/**
 * Rows of a matrix as they lie in memory, in a model or a mapped file, or some columns of them; a
 * vector is one row. The memory has to live as long as it is read.
 *
 * @param address of the first row's first element, whatever columns are chosen
 * @param width elements from a row to the next
 * @param firstColumn of those that are chosen
 * @param columns how many are chosen
 */
public record WeightRows(
    Type type, long address, int rows, int width, int firstColumn, int columns) {

  /** How a number lies in memory, little-endian. */
  public enum Type {
    FLOAT64(Double.BYTES),
    FLOAT32(Float.BYTES),
    FLOAT16(Short.BYTES),
    BFLOAT16(Short.BYTES);

    private final int bytes;

    Type(int bytes) {
      this.bytes = bytes;
    }

    /** Bytes of a number. */
    public int bytes() {
      return bytes;
    }
  }

  /** All columns of rows that follow each other. */
  public static WeightRows of(Type type, long address, int rows, int width) {
    return new WeightRows(type, address, rows, width, 0, width);
  }

  /** Some of the rows. */
  public WeightRows rows(int first, int count) {
    return new WeightRows(type, address + first * rowBytes(), count, width, firstColumn, columns);
  }

  /** Some of the columns. */
  public WeightRows columns(int first, int count) {
    return new WeightRows(type, address, rows, width, firstColumn + first, count);
  }

  private long rowBytes() {
    return (long) width * type.bytes();
  }

  /** Address of a row's first chosen number. */
  long row(int index) {
    return address + index * rowBytes() + (long) firstColumn * type.bytes();
  }

  /** Whether the rows follow each other without gaps, in a format that matrices are packed in. */
  boolean packsAs(WeightFormat format) {
    return columns == width && isIn(format);
  }

  private boolean isIn(WeightFormat format) {
    return switch (format) {
      case FLOAT32 -> type == Type.FLOAT32;
      case BFLOAT16 -> type == Type.BFLOAT16;
      case INT8, INT4 -> false;
    };
  }

  /** The number in a column, whether it is chosen or not. */
  private float number(int row, int column) {
    long at = address + row * rowBytes() + (long) column * type.bytes();
    return switch (type) {
      case FLOAT64 -> (float) MEMORY.get(JAVA_DOUBLE_UNALIGNED, at);
      case FLOAT32 -> Lanes.getFloat(at);
      case FLOAT16 -> Float.float16ToFloat(MEMORY.get(JAVA_SHORT_UNALIGNED, at));
      case BFLOAT16 -> Lanes.get(at);
    };
  }

  /** Reads a row as float32. */
  public void read(int row, float[] to) {
    read(row, to, 0);
  }

  /**
   * The same to a place in an array.
   *
   * @param at the first number's
   */
  void read(int row, float[] to, int at) {
    for (int i = 0; i < columns; i++) {
      to[at + i] = number(row, firstColumn + i);
    }
  }

  /**
   * Copies rows to where another matrix has its own, in its format.
   *
   * @param first of the rows
   * @param end the row after the last
   */
  public void copy(int first, int end, WeightRows to) {
    WeightFormat format =
        switch (to.type) {
          case FLOAT32 -> WeightFormat.FLOAT32;
          case BFLOAT16 -> WeightFormat.BFLOAT16;
          case FLOAT64, FLOAT16 ->
              throw new IllegalArgumentException("nothing is kept as " + to.type);
        };
    for (int row = first; row < end; row++) {
      write(row, format, to.row(row));
    }
  }

  /** All numbers as float32, row by row. */
  public float[] floats() {
    float[] all = new float[Math.multiplyExact(rows, columns)];
    for (int row = 0; row < rows; row++) {
      read(row, all, row * columns);
    }
    return all;
  }

  /** Writes a row in a format that matrices are packed in, one without groups. */
  void write(int row, WeightFormat format, long to) {
    if (isIn(format)) {
      long bytes = (long) columns * type.bytes();
      MemorySegment.copy(memory(row(row), bytes), 0, memory(to, bytes), 0, bytes);
      return;
    }
    switch (format) {
      case FLOAT32 -> {
        for (int i = 0; i < columns; i++) {
          Lanes.putFloat(number(row, firstColumn + i), to + 4L * i);
        }
      }
      case BFLOAT16 -> {
        for (int i = 0; i < columns; i++) {
          Lanes.put(number(row, firstColumn + i), to + 2L * i);
        }
      }
      case INT8, INT4 -> throw new IllegalArgumentException("groups are rounded by blocks");
    }
  }

  private static MemorySegment memory(long address, long bytes) {
    return MemorySegment.ofAddress(address).reinterpret(bytes);
  }
}
