package org.eellm.kernel.matmul;

import java.util.Locale;
import org.eellm.kernel.vector.CpuLevel;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Multiplies rows with packed matrices: {@code y = x W^T}, sums in float32. A row's result is the
 * same to the bit whatever rows are beside it, so batches, blocks and drafts are exact.
 *
 * <p>That holds across the ways there are. Where the processor has AVX-512 with its instructions
 * for bfloat16 and bytes, or AVX2, machine code takes 6 rows at once, for the price of one as long
 * as weights come from memory; on arm64 with NEON 4. With tiles (AMX) it takes 32. Elsewhere Java
 * takes row after row. All add up in the process's {@link SumOrder}. (Sums below 1e-38, which
 * instructions for bfloat16 make 0, aside.)
 */
public final class MatmulKernel {
  /** Rows that pass the weights at once: with machine code, six after six of them. */
  private static final int GROUP_ROWS = 64;

  private static final int BLOCK_BYTES = PackedMatrix.BLOCK * Float.BYTES; // of a row of y

  private final WeightFormat format;
  private final SumOrder order;
  private final RowsByMatrix rowsByMatrix;

  MatmulKernel(WeightFormat format, SumOrder order, RowsByMatrix rowsByMatrix) {
    this.format = format;
    this.order = order;
    this.rowsByMatrix = rowsByMatrix;
  }

  public WeightFormat format() {
    return format;
  }

  /** The order in which an output adds up. */
  SumOrder order() {
    return order;
  }

  /**
   * In Java, by the Vector API, or plain where the process is told so.
   *
   * @throws IllegalStateException if the process lacks the Vector API's module
   */
  public static MatmulKernel java(WeightFormat format) {
    if (CpuLevel.chosen() != CpuLevel.SCALAR && !CpuLevel.hasVectors()) {
      throw new IllegalStateException(
          "no machine code multiplies %s here; start Java with --add-modules %s"
              .formatted(format.name().toLowerCase(Locale.ROOT), NativeNumbers.VECTOR_MODULE));
    }
    return java(format, SumOrder.of(format), CpuLevel.hasVectors());
  }

  static MatmulKernel java(WeightFormat format, SumOrder order, boolean vectors) {
    return new MatmulKernel(format, order, JavaMatmul.of(order, vectors));
  }

  public static MatmulKernel fastest(WeightFormat format) {
    SumOrder order = SumOrder.of(format);
    return DotKernels.find(format, order)
        .map(code -> new MatmulKernel(format, order, code))
        .orElseGet(() -> java(format));
  }

  /** The kind of code, and the format of weights, in words. */
  public String text() {
    String type = format.name().toLowerCase(Locale.ROOT);
    String tiles = order == SumOrder.TILES ? ", in the order of tiles" : "";
    return switch (rowsByMatrix) {
      case DotKernels code when code.hasTiles() -> "machine code, tiles, " + type;
      case DotKernels code -> "machine code, %s, ".formatted(code.target().text()) + type + tiles;
      case JavaMatmul java -> (java.vectors() ? "Vector API, " : "plain Java, ") + type + tiles;
    };
  }

  /** Room for rows in this kernel's form. */
  public PackedInput allocate(int rows, int in) {
    return new PackedInput(this, rows, in);
  }

  /** Whether it reads inputs that are rounded to bfloat16 in float32. */
  boolean widensInput() {
    return format == WeightFormat.BFLOAT16
        && rowsByMatrix instanceof DotKernels code
        && code.target().widensInput();
  }

  /** Rows that are multiplied at once, at most. */
  int groupRows() {
    return GROUP_ROWS;
  }

  /**
   * Writes some blocks of outputs of some rows.
   *
   * @param x of this kernel
   * @param rows at most {@link PackedInput#groupRows}
   * @param y address of the first row's first output
   * @param rowBytes from a row of y to the next
   */
  public void multiply(
      PackedMatrix w,
      int firstBlock,
      int blocks,
      PackedInput x,
      int firstRow,
      int rows,
      long y,
      long rowBytes) {
    if (!fits(w.format()) || w.in() != x.in()) {
      throw new IllegalArgumentException(
          "%s weights of %d inputs are multiplied with %s activations of %d"
              .formatted(w.format(), w.in(), format, x.in()));
    }
    int most = rowsByMatrix.mostRows();
    // Several rows go through one block, which stays in the nearest cache.
    int together = rows <= most ? w.blocksOfCall() : 1;
    for (int block = 0; block < blocks; block += together) {
      for (int row = 0; row < rows; row += most) {
        rowsByMatrix.multiply(
            w,
            firstBlock + block,
            Math.min(together, blocks - block),
            x,
            firstRow + row,
            Math.min(most, rows - row),
            y + (long) block * BLOCK_BYTES + row * rowBytes,
            rowBytes);
      }
    }
  }

  /** Formats whose groups are alike share the form of activations. */
  private boolean fits(WeightFormat other) {
    return other == format || format.hasGroups() && other.group() == format.group();
  }
}
