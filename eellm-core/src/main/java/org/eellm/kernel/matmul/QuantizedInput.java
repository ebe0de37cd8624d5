package org.eellm.kernel.matmul;

import java.util.concurrent.atomic.AtomicIntegerArray;
import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeNumbers;

/**
 * Rows x [rows, in] rounded to 8 bits in groups, for weights that share scales in the same groups:
 * {@code x = scale q} with {@code |q| <= 127} and {@code scale = max |x| / 127} of the group. A row
 * is {@code [in / group]} of what the weights' offset from 0 adds for 4 bits, negative: {@code -8
 * sum q}; the q, a byte each; the scale. That takes {@link #MORE_UNITS} numbers of 32 bits beside
 * the bytes.
 */
final class QuantizedInput implements AutoCloseable {
  /** Numbers of 32 bits in a group beside its q. */
  static final int MORE_UNITS = RowKernel.MORE_UNITS;

  private final int in;
  private final int group;
  private final int groups; // of a row
  private final int units; // of 32 bits, of a row
  private final NativeBuffer bytes; // [rows, units]
  private final FloatArray pieces; // [rows, groups, group], of groups that come in pieces
  private final AtomicIntegerArray counts; // of numbers among the pieces, by row and group

  QuantizedInput(int capacity, int in, int group) {
    this.in = in;
    this.group = group;
    groups = Math.ceilDiv(in, group);
    units = groups * (MORE_UNITS + group / 4);
    bytes = NativeBuffer.allocate(4L * capacity * units);
    pieces = FloatArray.allocate(capacity * groups * group);
    counts = new AtomicIntegerArray(capacity * groups);
  }

  void begin(int rows) {
    for (int i = 0; i < rows * groups; i++) {
      counts.setPlain(i, 0);
    }
  }

  int units() {
    return units;
  }

  int groups() {
    return groups;
  }

  long row(int row) {
    return bytes.address() + 4L * row * units;
  }

  private long group(int row, int index) {
    return row(row) + 4L * index * (units / groups);
  }

  /** Address of a rounded number, which is a byte. */
  long number(int row, int column) {
    return group(row, column / group) + Integer.BYTES + column % group;
  }

  float scale(int row, int index) {
    return NativeNumbers.getFloat(group(row, index) + Integer.BYTES + group);
  }

  /** Writes numbers of a row. A group is rounded when its last number has come. */
  void put(int row, int column, FloatArray values, int from, int count) {
    int end = column + count;
    int firstWhole = Math.ceilDiv(column, group);
    int wholes = Math.max(0, end / group - firstWhole);
    int wholeEnd = (firstWhole + wholes) * group;
    if (wholes > 0) {
      round(values, from + firstWhole * group - column, row, firstWhole, wholes);
    }
    if (column < firstWhole * group) {
      putPiece(row, column, values, from, Math.min(end, firstWhole * group) - column);
    }
    if (end > wholeEnd && end > firstWhole * group) {
      putPiece(row, wholeEnd, values, from + wholeEnd - column, end - wholeEnd);
    }
  }

  /** Writes numbers of a row, which are in memory: piece by piece, as of heads. */
  void put(int row, int column, long values, int count) {
    for (int done = 0; done < count; ) {
      int from = column + done;
      int piece = Math.min(count - done, group - from % group);
      FloatArithmetic.read(values + 4L * done, pieces.values(), inPieces(row, from), piece);
      countPiece(row, from / group, piece);
      done += piece;
    }
  }

  private void putPiece(int row, int column, FloatArray values, int from, int count) {
    System.arraycopy(values.values(), from, pieces.values(), inPieces(row, column), count);
    countPiece(row, column / group, count);
  }

  private int inPieces(int row, int column) {
    return row * groups * group + column;
  }

  /** Rounds a group if its last numbers have come. */
  private void countPiece(int row, int at, int count) {
    int first = inPieces(row, at * group);
    int all = Math.min(group, in - at * group);
    if (counts.addAndGet(row * groups + at, count) == all) {
      counts.set(row * groups + at, 0);
      round(pieces, first, row, at, 1);
    }
  }

  private void round(FloatArray values, int from, int row, int first, int count) {
    RowKernel.chosen().quantize(values, from, group, count, group(row, first));
  }

  @Override
  public void close() {
    bytes.close();
  }
}
