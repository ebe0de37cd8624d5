package org.eellm.kernel.matmul;

import java.util.Locale;
import java.util.Optional;
import org.eellm.kernel.matmul.TileKernels.Variant;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Multiplies rows with packed matrices: {@code y = x W^T}, sums in float32. A row's result is the
 * same to the bit whatever rows are beside it, so batches, blocks and drafts are exact.
 *
 * <p>That holds across the two ways there are. The Vector API takes up to 8 rows at once on any
 * processor. Where the processor has AVX-512 with its instructions for bfloat16 and bytes, or AVX2,
 * machine code takes 6 rows at once, for the price of one as long as weights come from memory. With
 * tiles (AMX) it takes 32. Both add up in the process's {@link SumOrder}. (Sums below 1e-38, which
 * instructions for bfloat16 make 0, aside.)
 */
public final class MatmulKernel {
  /** Rows that pass the weights at once: with machine code, six after six of them. */
  private static final int CODE_ROWS = 64;

  private static final int VECTOR_ROWS = 8;

  /** Vectors of sums that leave registers for weights. */
  public static final int SUMS =
      NativeNumbers.WIDTH == 16 || System.getProperty("os.arch").equals("aarch64") ? 16 : 8;

  private static final int VECTORS = PackedMatrix.BLOCK / NativeNumbers.WIDTH;
  private static final int BLOCK_BYTES = PackedMatrix.BLOCK * Float.BYTES; // of a row of y

  private final WeightFormat format;
  private final SumOrder order;
  private final Optional<DotKernels> code;

  /** By rows, if the Vector API takes them; the first is of two blocks, for one row. */
  private final TileKernel[] tiles;

  private final Optional<GroupedMatmul> groups; // of formats that have them

  /** Machine code for weights without groups. */
  MatmulKernel(WeightFormat format, DotKernels code) {
    this.format = format;
    order = code.order();
    this.code = Optional.of(code);
    tiles = new TileKernel[0];
    groups = Optional.empty();
  }

  /** The Vector API for weights without groups. */
  private MatmulKernel(WeightFormat format, SumOrder order) {
    this.format = format;
    this.order = order;
    code = Optional.empty();
    tiles = new TileKernel[VECTOR_ROWS + 1];
    tiles[0] = TileKernels.of(new Variant(format, 1, 2, Math.min(VECTORS, 4), false, order));
    for (int rows = 1; rows <= VECTOR_ROWS; rows++) {
      tiles[rows] = TileKernels.of(new Variant(format, rows, 1, vectors(rows), false, order));
    }
    groups = Optional.empty();
  }

  /** Machine code for weights with scales for groups of inputs. */
  MatmulKernel(WeightFormat format, GroupKernels code) {
    this(format, new GroupedMatmul(code));
  }

  private MatmulKernel(WeightFormat format, GroupedMatmul grouped) {
    this.format = format;
    order = SumOrder.CHAIN;
    code = Optional.empty();
    tiles = new TileKernel[0];
    groups = Optional.of(grouped);
  }

  /** Vectors of outputs that so many rows take at once. */
  private int vectors(int rows) {
    int sums = order == SumOrder.CHAIN ? SUMS : SUMS / 2; // beside two halves each
    return Math.min(VECTORS, Integer.highestOneBit(Math.max(1, sums / rows)));
  }

  /** The format of weights. */
  public WeightFormat format() {
    return format;
  }

  /** The order in which an output adds up. */
  SumOrder order() {
    return order;
  }

  private Optional<CodeTarget> target() {
    return code.map(DotKernels::target).or(() -> groups.flatMap(GroupedMatmul::target));
  }

  /** Whether machine code multiplies; else the Vector API does. */
  boolean isMachineCode() {
    return target().isPresent();
  }

  /**
   * With the Vector API alone.
   *
   * @throws IllegalStateException if Java runs without it
   */
  public static MatmulKernel vectors(WeightFormat format) {
    return vectors(format, SumOrder.of(format));
  }

  static MatmulKernel vectors(WeightFormat format, SumOrder order) {
    if (!NativeNumbers.HAS_VECTORS) {
      throw new IllegalStateException(
          "machine code gives wrong products of %s here; start Java with --add-modules %s"
              .formatted(format, NativeNumbers.VECTOR_MODULE));
    }
    return format.hasGroups()
        ? new MatmulKernel(format, new GroupedMatmul())
        : new MatmulKernel(format, order);
  }

  /** The fastest. */
  public static MatmulKernel fastest(WeightFormat format) {
    if (format.hasGroups()) {
      return GroupKernels.find()
          .map(kernels -> new MatmulKernel(format, kernels))
          .orElseGet(() -> vectors(format));
    }
    return DotKernels.find(format, SumOrder.of(format))
        .map(kernels -> new MatmulKernel(format, kernels))
        .orElseGet(() -> vectors(format));
  }

  /** The kind of code, and the format of weights, in words. */
  public String text() {
    String type = format.name().toLowerCase(Locale.ROOT);
    String tiles = order == SumOrder.TILES ? ", in the order of tiles" : "";
    if (code.filter(DotKernels::hasTiles).isPresent()) {
      return "machine code, tiles, " + type;
    }
    return target()
        .map(target -> "machine code, %d bits, %s".formatted(target.vectorBits(), type + tiles))
        .orElseGet(
            () -> "Vector API, %d bits, %s".formatted(8 * NativeNumbers.BYTES, type + tiles));
  }

  /** Room for rows in this kernel's form. */
  public PackedInput allocate(int rows, int in) {
    return new PackedInput(this, rows, in);
  }

  /** Rows that are multiplied at once, at most. */
  int groupRows() {
    return tiles.length > 0 ? VECTOR_ROWS : CODE_ROWS;
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
    if (groups.isPresent()) {
      groups.get().multiply(w, firstBlock, blocks, x.quantized(), firstRow, rows, y, rowBytes);
    } else if (code.isPresent()) {
      multiplyByCode(w, firstBlock, blocks, x, firstRow, rows, y, rowBytes);
    } else {
      multiplyVectors(w, firstBlock, blocks, x, firstRow, rows, y, rowBytes);
    }
  }

  /** Formats whose groups are alike share the form of activations. */
  private boolean fits(WeightFormat other) {
    return other == format || format.hasGroups() && other.group() == format.group();
  }

  private void multiplyByCode(
      PackedMatrix w,
      int firstBlock,
      int blocks,
      PackedInput x,
      int firstRow,
      int rows,
      long y,
      long rowBytes) {
    DotKernels kernels = code.orElseThrow();
    int most = kernels.mostRows();
    // Several rows go through one block, which stays in the nearest cache.
    int together = rows <= most ? w.blocksOfCall() : 1;
    for (int block = 0; block < blocks; block += together) {
      for (int row = 0; row < rows; row += most) {
        kernels.multiply(
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

  private void multiplyVectors(
      PackedMatrix w,
      int firstBlock,
      int blocks,
      PackedInput x,
      int firstRow,
      int rows,
      long y,
      long rowBytes) {
    int at = x.start(firstRow);
    int block = 0;
    if (rows == 1 && VECTORS < 8) { // two blocks at once: else few sums would wait for each other
      for (; block + 1 < blocks; block += 2) {
        run(tiles[0], w, firstBlock + block, 0, x, at, y + (long) block * BLOCK_BYTES, rowBytes);
      }
    }
    int vectors = vectors(rows);
    TileKernel kernel = tiles[rows];
    for (; block < blocks; block++) {
      for (int v = 0; v < VECTORS; v += vectors) {
        int offset = v * NativeNumbers.BYTES;
        long to = y + (long) block * BLOCK_BYTES + offset;
        run(kernel, w, firstBlock + block, offset, x, at, to, rowBytes);
      }
    }
  }

  private static void run(
      TileKernel kernel,
      PackedMatrix w,
      int block,
      int offset,
      PackedInput x,
      int at,
      long y,
      long rowBytes) {
    long first = w.block(block) + offset;
    long stepBytes = (long) PackedMatrix.BLOCK * Integer.BYTES;
    kernel.run(
        first,
        first + w.blockBytes(),
        0,
        0,
        stepBytes,
        w.steps(),
        x.floats(),
        at,
        x.padded(),
        y,
        rowBytes);
  }
}
