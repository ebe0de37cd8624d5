package org.eellm.kernel.matmul;

import org.eellm.kernel.weight.PackedMatrix;

/** What multiplies some rows with some blocks of a matrix's outputs. */
sealed interface RowsByMatrix permits DotKernels, JavaMatmul {
  int mostRows();

  /**
   * Writes some blocks of outputs of some rows.
   *
   * @param rows from 1 to {@link #mostRows}
   * @param y address of the first row's first output, float32
   * @param yRowBytes from a row of y to the next
   */
  void multiply(
      PackedMatrix w,
      int firstBlock,
      int blocks,
      PackedInput x,
      int firstRow,
      int rows,
      long y,
      long yRowBytes);
}
