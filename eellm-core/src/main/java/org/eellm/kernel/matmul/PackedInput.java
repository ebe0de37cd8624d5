package org.eellm.kernel.matmul;

import java.util.Arrays;
import java.util.Optional;
import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Rows x [rows, in] in the form that a {@link MatmulKernel} multiplies. After {@link #begin} the
 * numbers are put, in any order and by any thread. With weights in bfloat16 they are rounded to
 * that format, too, and have 16 or 32 bits, as the kernel reads them; with weights whose inputs
 * share scales in groups, they are rounded to 8 bits in those groups.
 */
public final class PackedInput implements AutoCloseable {
  /** Rows so far apart would meet in the same places of the nearest cache. */
  private static final int PAGE_BYTES = 4096;

  private static final int LINE_BYTES = 64;

  private final MatmulKernel kernel;
  private final int capacity;
  private final int in;
  private final int numberBytes;
  private final long rowBytes;
  private final Optional<NativeBuffer> numbers; // rounded as the weights, filled up with 0
  private final Optional<QuantizedInput>
      quantized; // of weights whose inputs share scales in groups
  private FloatArray[] kept = {}; // by row
  private int rows;

  PackedInput(MatmulKernel kernel, int capacity, int in) {
    this.kernel = kernel;
    this.capacity = capacity;
    this.in = in;
    WeightFormat format = kernel.format();
    quantized =
        format.hasGroups()
            ? Optional.of(new QuantizedInput(capacity, in, format.group()))
            : Optional.empty();
    numberBytes = kernel.widensInput() ? Float.BYTES : format.bytes();
    long bytes = (long) format.padded(in) * numberBytes;
    rowBytes = bytes % PAGE_BYTES == 0 ? bytes + LINE_BYTES : bytes;
    numbers =
        format.hasGroups()
            ? Optional.empty()
            : Optional.of(NativeBuffer.allocate(capacity * rowBytes));
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

  public MatmulKernel kernel() {
    return kernel;
  }

  public int in() {
    return in;
  }

  /** How many rows there are, of those that there is room for. */
  public int rows() {
    return rows;
  }

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

  /** Address of a row of numbers that are rounded as the weights. */
  long address(int row) {
    return numbers.orElseThrow().address() + row * rowBytes;
  }

  /** From a row's address to the next. */
  long rowBytes() {
    return rowBytes;
  }

  /** Writes numbers of a row. */
  public void put(int row, int column, FloatArray values, int from, int count) {
    if (kept.length > 0) {
      System.arraycopy(values.values(), from, kept[row].values(), column, count);
    }
    if (quantized.isPresent()) {
      quantized.get().put(row, column, values, from, count);
      return;
    }
    if (kernel.format() == WeightFormat.BFLOAT16) {
      long to = address(row) + (long) numberBytes * column;
      RowKernel.chosen().store(values, from, count, numberBytes, to);
    } else {
      FloatArithmetic.write(values.values(), from, address(row) + 4L * column, count);
    }
  }

  /** Writes numbers of a row, which are in memory. */
  public void put(int row, int column, long values, int count) {
    if (kept.length > 0) {
      FloatArithmetic.read(values, kept[row].values(), column, count);
    }
    if (quantized.isPresent()) {
      quantized.get().put(row, column, values, count);
      return;
    }
    if (kernel.format() == WeightFormat.BFLOAT16) {
      long to = address(row) + (long) numberBytes * column;
      RowKernel.chosen().store(values, count, numberBytes, to);
    } else {
      FloatArithmetic.copy(values, address(row) + 4L * column, count);
    }
  }

  @Override
  public void close() {
    numbers.ifPresent(NativeBuffer::close);
    quantized.ifPresent(QuantizedInput::close);
  }
}
