package org.eellm.kernel.weight;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static org.eellm.kernel.vector.NativeNumbers.MEMORY;

import java.lang.foreign.MemorySegment;

/**
 * Numbers that lie in memory, in a model or a mapped file. The memory has to live as long as it is
 * read.
 *
 * @param address of the first row's first element, whatever columns are chosen
 * @param width elements from a row to the next
 */
public record StoredRows(Type type, long address, int rows, int width, int firstColumn, int columns)
    implements WeightRows {

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

    public int bytes() {
      return bytes;
    }
  }

  public static StoredRows of(Type type, long address, int rows, int width) {
    return new StoredRows(type, address, rows, width, 0, width);
  }

  @Override
  public StoredRows rows(int first, int count) {
    return new StoredRows(type, address + first * rowBytes(), count, width, firstColumn, columns);
  }

  @Override
  public StoredRows columns(int first, int count) {
    return new StoredRows(type, address, rows, width, firstColumn + first, count);
  }

  private long rowBytes() {
    return (long) width * type.bytes();
  }

  /** Address of a row's first chosen number. */
  public long row(int index) {
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

  @Override
  public void read(int row, float[] to, int at) {
    long from = row(row);
    switch (type) {
      case FLOAT32 -> MemorySegment.copy(MEMORY, JAVA_FLOAT_UNALIGNED, from, to, at, columns);
      case FLOAT16, BFLOAT16 -> readShort(from, to, at);
      case FLOAT64 -> {
        for (int i = 0; i < columns; i++) {
          to[at + i] = (float) MEMORY.get(JAVA_DOUBLE_UNALIGNED, from + (long) i * Double.BYTES);
        }
      }
    }
  }

  /**
   * Numbers of 16 bits are copied into the last half of their place, and made float32 from there:
   * single reads of memory are slow in a process that has just started.
   */
  private void readShort(long from, float[] to, int at) {
    int pairs = columns / 2;
    int source = at + columns - pairs;
    MemorySegment.copy(MEMORY, JAVA_FLOAT_UNALIGNED, from, to, source, pairs);
    boolean bfloat16 = type == Type.BFLOAT16;
    for (int i = 0; i < pairs; i++) {
      int both = Float.floatToRawIntBits(to[source + i]);
      int target = at + 2 * i;
      if (bfloat16) {
        to[target] = Float.intBitsToFloat(both << 16);
        to[target + 1] = Float.intBitsToFloat(both & 0xFFFF_0000);
      } else {
        to[target] = Float.float16ToFloat((short) both);
        to[target + 1] = Float.float16ToFloat((short) (both >>> 16));
      }
    }
    if (columns % 2 == 1) {
      int last = columns - 1;
      short bits = MEMORY.get(JAVA_SHORT_UNALIGNED, from + (long) last * Short.BYTES);
      to[at + last] = bfloat16 ? Float.intBitsToFloat(bits << 16) : Float.float16ToFloat(bits);
    }
  }

  @Override
  public void write(int row, WeightFormat format, long to) {
    if (isIn(format)) {
      long bytes = (long) columns * type.bytes();
      MemorySegment.copy(memory(row(row), bytes), 0, memory(to, bytes), 0, bytes);
      return;
    }
    WeightRows.super.write(row, format, to);
  }

  private static MemorySegment memory(long address, long bytes) {
    return MemorySegment.ofAddress(address).reinterpret(bytes);
  }
}
