package org.eellm.decode.engine;

import java.util.Arrays;
import org.eellm.kernel.ThreadTeam;
import org.eellm.kernel.WeightFormat;
import org.eellm.kernel.WeightRows;

/**
 * Rows of an embedding.
 *
 * @param first id of the first row that this rank has
 */
record EmbeddingTable(WeightRows rows, int first) {
  private static final int ROWS_EACH = 256; // that a thread copies at once

  /** Bytes of a copy, up to a multiple of a cache line. */
  static long bytes(WeightRows rows, WeightFormat format) {
    return Math.ceilDiv((long) rows.rows() * rows.columns() * type(format).bytes(), 64L) * 64;
  }

  private static WeightRows.Type type(WeightFormat format) {
    return format == WeightFormat.FLOAT32 ? WeightRows.Type.FLOAT32 : WeightRows.Type.BFLOAT16;
  }

  /**
   * Copies a rank's rows, on all threads.
   *
   * @param format to convert rows to: float32 or bfloat16
   */
  static EmbeddingTable copy(
      WeightRows source, int rank, WeightFormat format, long to, ThreadTeam team) {
    WeightRows copy =
        new WeightRows(type(format), to, source.rows(), source.columns(), 0, source.columns());
    team.run(
        member -> {
          member.begin(Math.ceilDiv(source.rows(), ROWS_EACH));
          for (int i = member.next(); i >= 0; i = member.next()) {
            int end = Math.min(source.rows(), (i + 1) * ROWS_EACH);
            source.copy(i * ROWS_EACH, end, copy);
          }
          member.end();
        });
    return new EmbeddingTable(copy, rank * source.rows());
  }

  /** A row as float32; zeros where another rank has it. */
  void read(int id, float[] to) {
    int row = id - first;
    if (row < 0 || row >= rows.rows()) {
      Arrays.fill(to, 0, rows.columns(), 0);
    } else {
      rows.read(row, to);
    }
  }
}
