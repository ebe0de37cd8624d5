package org.eellm.kernel.product;

import java.util.Optional;
import org.eellm.kernel.vector.Bfloat16Rounding;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Rows x [rows, in] in the form that a {@link MatmulKernel} multiplies. After {@link #begin} the
 * numbers are put, in any order and by any thread. With weights in bfloat16 they are rounded to
 * that format, too; with weights whose inputs share scales in groups, to 8 bits in those groups.
 */
public final class Activations implements AutoCloseable {
  private final MatmulKernel kernel;
  private final int capacity;
  private final int in;
  private final int padded; // in, in whole groups
  private final float[] floats; // [rows, padded]
  private final Optional<NativeBuffer> pairs; // bfloat16, [rows, padded]
  private final Optional<GroupRows> groups; // of weights whose inputs share scales in groups
  private int rows;
  private boolean vectors;

  Activations(MatmulKernel kernel, int capacity, int in) {
    this.kernel = kernel;
    this.capacity = capacity;
    this.in = in;
    int together = kernel.format().inputsTogether();
    padded = Math.ceilDiv(in, together) * together;
    boolean grouped = kernel.format().hasGroups();
    groups =
        grouped
            ? Optional.of(
                new GroupRows(capacity, in, kernel.format().group(), kernel.mostVectorRows() > 0))
            : Optional.empty();
    int most = grouped ? 0 : Math.min(kernel.mostVectorRows(), capacity);
    floats = new float[most * padded];
    pairs =
        !grouped && most < capacity
            ? Optional.of(
                NativeBuffer.allocate(2L * (capacity + MatmulKernel.ROWS_BEYOND) * padded))
            : Optional.empty();
  }

  /** What multiplies them. */
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
    if (groups.isPresent()) {
      groups.get().begin(count);
    }
    rows = count;
    vectors = count <= kernel.mostVectorRows();
  }

  /** Whether the rows are for the Vector API. */
  boolean vectors() {
    return vectors;
  }

  /** Rows that are multiplied at once, in groups that begin at multiples of this number. */
  public int groupRows() {
    return vectors && groups.isEmpty() ? kernel.vectorGroup() : MatmulKernel.MICRO_KERNEL_ROWS;
  }

  GroupRows groups() {
    return groups.orElseThrow();
  }

  float[] floats() {
    return floats;
  }

  /** Where a row begins among the floats. */
  int start(int row) {
    return row * padded;
  }

  /** Address of a row in bfloat16. */
  long pairs(int row) {
    return pairs.orElseThrow().address() + 2L * row * padded;
  }

  int padded() {
    return padded;
  }

  /**
   * Writes numbers of a row.
   *
   * @param column of the first
   */
  public void put(int row, int column, FloatArray values, int from, int count) {
    if (groups.isPresent()) {
      groups.get().put(row, column, values, from, count);
      return;
    }
    if (!vectors) {
      RowArithmetic.storeAsBfloat16(values, from, count, pairs(row) + 2L * column);
      return;
    }
    int to = start(row) + column;
    if (kernel.format() == WeightFormat.BFLOAT16) {
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
    if (groups.isPresent()) {
      groups.get().put(row, column, values, count);
      return;
    }
    if (!vectors) {
      RowArithmetic.storeAsBfloat16(values, count, pairs(row) + 2L * column);
      return;
    }
    int to = start(row) + column;
    RowArithmetic.read(values, floats, to, count);
    if (kernel.format() == WeightFormat.BFLOAT16) {
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
    pairs.ifPresent(NativeBuffer::close);
    groups.ifPresent(GroupRows::close);
  }
}
