package org.eellm.decode.engine.cpu;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.eellm.kernel.machine.ThreadTeam;
import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.weight.DecodedRows;
import org.eellm.kernel.weight.GroupLayout;
import org.eellm.kernel.weight.MatrixPacker;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.StoredRows;
import org.eellm.kernel.weight.WeightFormat;
import org.eellm.kernel.weight.WeightRows;

/**
 * The rows of an embedding. Those that a file has in groups stay in them, in a packed matrix.
 *
 * @param first id of the first row that this rank has
 */
record EmbeddingTable(Rows rows, int first, int count, int columns) {
  private static final int ROWS_EACH = 256; // that a thread copies at once

  sealed interface Rows {
    /** Reads a row as float32. */
    void read(int row, float[] to);

    record Packed(PackedMatrix matrix) implements Rows {
      @Override
      public void read(int row, float[] to) {
        matrix.read(row, to);
      }
    }

    /** One after the other. */
    record Stored(StoredRows rows) implements Rows {
      @Override
      public void read(int row, float[] to) {
        rows.read(row, to, 0);
      }
    }
  }

  /**
   * Bytes of a copy, up to a multiple of a cache line.
   *
   * @param plain what rows are converted to that are in no groups: float32 or bfloat16
   */
  static long bytes(WeightRows source, WeightFormat plain) {
    return layout(source)
        .map(layout -> PackedMatrix.bytes(layout.format(), source.rows(), source.columns()))
        .orElseGet(() -> Math.ceilDiv(source.rows() * rowBytes(source, plain), 64L) * 64);
  }

  private static long rowBytes(WeightRows source, WeightFormat plain) {
    return (long) source.columns() * plain.bytes();
  }

  private static Optional<GroupLayout> layout(WeightRows source) {
    return source instanceof DecodedRows decoded ? decoded.layout() : Optional.empty();
  }

  /** Whether a matrix that is packed in a format has the very numbers of an embedding. */
  static boolean isIn(WeightFormat format, WeightRows source) {
    return layout(source).filter(layout -> layout.fits(format)).isPresent();
  }

  /** A rank's rows, which are a matrix's outputs. */
  static EmbeddingTable of(PackedMatrix matrix, int rank) {
    return new EmbeddingTable(
        new Rows.Packed(matrix), rank * matrix.out(), matrix.out(), matrix.in());
  }

  /** Copies a rank's rows, on all threads; as {@link #bytes}. */
  static EmbeddingTable copy(
      WeightRows source, int rank, WeightFormat plain, long to, ThreadTeam team) {
    Optional<GroupLayout> layout = layout(source);
    if (layout.isPresent()) {
      MatrixPacker packer = MatrixPacker.stacked(layout.get().format(), List.of(source));
      return of(packer.pack(to, team), rank);
    }
    team.run(
        member -> {
          member.begin(Math.ceilDiv(source.rows(), ROWS_EACH));
          for (int i = member.next(); i >= 0; i = member.next()) {
            int end = Math.min(source.rows(), (i + 1) * ROWS_EACH);
            for (int row = i * ROWS_EACH; row < end; row++) {
              source.write(row, plain, to + row * rowBytes(source, plain));
            }
          }
          member.end();
        });
    StoredRows.Type type =
        plain == WeightFormat.FLOAT32 ? StoredRows.Type.FLOAT32 : StoredRows.Type.BFLOAT16;
    StoredRows copy = StoredRows.of(type, to, source.rows(), source.columns());
    return new EmbeddingTable(
        new Rows.Stored(copy), rank * source.rows(), source.rows(), source.columns());
  }

  /** A row as float32; zeros where another rank has it. */
  void read(int id, float[] to) {
    int row = id - first;
    if (row < 0 || row >= count) {
      Arrays.fill(to, 0, columns, 0);
    } else {
      rows.read(row, to);
    }
  }

  /** The scalar product of a row of this rank's and float32 numbers. */
  float times(int id, long x, FloatArray scratch) {
    if (rows instanceof Rows.Stored(StoredRows stored)
        && stored.type() == StoredRows.Type.BFLOAT16) {
      return FloatArithmetic.productWithBfloat16(x, stored.row(id - first), columns);
    }
    rows.read(id - first, scratch.values());
    return FloatArithmetic.dot(x, scratch, columns);
  }
}
