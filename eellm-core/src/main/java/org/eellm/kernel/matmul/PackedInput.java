package org.eellm.kernel.matmul;

import java.util.Arrays;
import java.util.Optional;
import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.Bfloat16Rounding;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Rows x [rows, in] in the form that a {@link MatmulKernel} multiplies. After {@link #begin} the
 * numbers are put, in any order and by any thread. With weights in bfloat16 they are rounded to
 * that format, too; with weights whose inputs share scales in groups, to 8 bits in those groups.
 */
public final class PackedInput implements AutoCloseable {
  /** Rows so far apart would meet in the same places of the nearest cache. */
  private static final int PAGE_BYTES = 4096;

  private static final int LINE_BYTES = 64;

  private final MatmulKernel kernel;
  private final int capacity;
  private final int in;
  private final int padded; // in, with the zeros that fill it up
  private final long rowBytes;
  private final float[] floats; // [rows, padded]
  private final Optional<NativeBuffer> numbers; // in the format of the weights, [rows, padded]
  private final Optional<QuantizedInput>
      quantized; // of weights whose inputs share scales in groups
  private final boolean vectors;
  private FloatArray[] kept = {}; // by row
  private int rows;

  PackedInput(MatmulKernel kernel, int capacity, int in) {
    this.kernel = kernel;
    this.capacity = capacity;
    this.in = in;
    vectors = !kernel.isMachineCode();
    padded = kernel.format().padded(in);
    boolean grouped = kernel.format().hasGroups();
    quantized =
        grouped
            ? Optional.of(new QuantizedInput(capacity, in, kernel.format().group(), vectors))
            : Optional.empty();
    floats = new float[grouped || !vectors ? 0 : capacity * padded];
    long bytes = (long) padded * kernel.format().bytes();
    rowBytes = bytes % PAGE_BYTES == 0 ? bytes + LINE_BYTES : bytes;
    numbers =
        !grouped && !vectors
            ? Optional.of(NativeBuffer.allocate(capacity * rowBytes))
            : Optional.empty();
  }

  /** Keeps the numbers as they are put, too. */
  public void keep() {
    kept = new FloatArray[capacity];
    Arrays.setAll(kept, _ -> FloatArray.allocate(in));
  }

  /** A row as it was put, where rows are kept. */
  public FloatArray kept(int row) {
    return kept[row];
  }

  /** The kernel that multiplies them. */
  public MatmulKernel kernel() {
    return kernel;
  }

  /** Numbers of a row. */
  public int in() {
    return in;
  }

  /** How many rows there are, of those that there is room for. */
  public int rows() {
    return rows;
  }

  /** Begins anew, with so many rows. */
  public void begin(int count) {
    if (count > capacity) {
      throw new IllegalArgumentException(count + " rows do not fit a block of " + capacity);
    }
    if (quantized.isPresent()) {
      quantized.get().begin(count);
    }
    rows = count;
  }

  /** Rows that are multiplied at once, at most. */
  public int groupRows() {
    return kernel.groupRows();
  }

  QuantizedInput quantized() {
    return quantized.orElseThrow();
  }

  float[] floats() {
    return floats;
  }

  /** Where a row begins among the floats. */
  int start(int row) {
    return row * padded;
  }

  /** Address of a row in the format of the weights. */
  long address(int row) {
    return numbers.orElseThrow().address() + row * rowBytes;
  }

  int padded() {
    return padded;
  }

  /** From a row's address to the next. */
  long rowBytes() {
    return rowBytes;
  }

  /**
   * Writes numbers of a row.
   *
   * @param column of the first
   */
  public void put(int row, int column, FloatArray values, int from, int count) {
    if (kept.length > 0) {
      System.arraycopy(values.values(), from, kept[row].values(), column, count);
    }
    if (quantized.isPresent()) {
      quantized.get().put(row, column, values, from, count);
      return;
    }
    boolean bfloat16 = kernel.format() == WeightFormat.BFLOAT16;
    if (!vectors) {
      if (bfloat16) {
        RowKernel.chosen().store(values, from, count, address(row) + 2L * column);
      } else {
        FloatArithmetic.write(values.values(), from, address(row) + 4L * column, count);
      }
      return;
    }
    int to = start(row) + column;
    if (bfloat16) {
      Bfloat16Rounding.round(values.values(), from, count, floats, to);
    } else {
      System.arraycopy(values.values(), from, floats, to, count);
    }
    clearBehind(row, column + count);
  }

  /**
   * Writes numbers of a row, which are in memory.
   *
   * @param column of the first
   */
  public void put(int row, int column, long values, int count) {
    if (kept.length > 0) {
      FloatArithmetic.read(values, kept[row].values(), column, count);
    }
    if (quantized.isPresent()) {
      quantized.get().put(row, column, values, count);
      return;
    }
    boolean bfloat16 = kernel.format() == WeightFormat.BFLOAT16;
    if (!vectors) {
      if (bfloat16) {
        RowKernel.chosen().store(values, count, address(row) + 2L * column);
      } else {
        FloatArithmetic.copy(values, address(row) + 4L * column, count);
      }
      return;
    }
    int to = start(row) + column;
    FloatArithmetic.read(values, floats, to, count);
    if (bfloat16) {
      Bfloat16Rounding.round(floats, to, count, floats, to);
    }
    clearBehind(row, column + count);
  }

  /** Clears what fills up the last group behind a row's end. */
  private void clearBehind(int row, int end) {
    for (int i = in; i < padded && end == in; i++) {
      floats[start(row) + i] = 0;
    }
  }

  @Override
  public void close() {
    numbers.ifPresent(NativeBuffer::close);
    quantized.ifPresent(QuantizedInput::close);
  }
}
