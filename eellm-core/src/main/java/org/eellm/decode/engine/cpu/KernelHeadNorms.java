package org.eellm.decode.engine.cpu;

import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeNumbers;

/**
 * RMSNorms of queries and of keys.
 *
 * @param query of a head's query, or of this rank's part of all heads'
 */
record KernelHeadNorms(KernelNorm.Rms query, KernelNorm.Rms key, boolean together) {
  static final int SUM_BYTES = 2 * Float.BYTES;

  void apply(long queries, long keys, FloatArray scratch) {
    query.applyInPlace(queries, scratch);
    key.applyInPlace(keys, scratch);
  }

  /** Writes the sums of squares of this rank's part of a row. */
  void sum(long queries, long keys, long sums, FloatArray scratch) {
    NativeNumbers.putFloat(query.sumOfSquares(queries, scratch), sums);
    NativeNumbers.putFloat(key.sumOfSquares(keys, scratch), sums + Float.BYTES);
  }

  /** Norms this rank's part of a row by the sums of all ranks. */
  void apply(long queries, long keys, long sums, int ranks) {
    query.applyToPart(queries, NativeNumbers.getFloat(sums), ranks);
    key.applyToPart(keys, NativeNumbers.getFloat(sums + Float.BYTES), ranks);
  }
}
