package org.eellm.kernel.product;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.eellm.kernel.machine.CpuFlags;
import org.eellm.kernel.product.TileKernels.Variant;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Multiplies rows with packed matrices: {@code y = x W^T}, sums in float32. A row's result is the
 * same to the bit whatever rows are beside it, so batches, blocks and drafts are exact.
 *
 * <p>That holds across the three ways there are. The Vector API takes up to 8 rows at once on any
 * processor. Where the processor has AVX-512, and for bfloat16 its instructions for that, machine
 * code of our own takes 6 rows at once, for the price of one as long as weights come from memory.
 * Where it has tiles (AMX), or refuses our code, oneDNN's micro-kernels take larger blocks of
 * bfloat16. All add up one chain of fused multiplications an output; of each pair of bfloat16 the
 * second input first, as the instruction {@code vdpbf16ps} does. (Sums below 1e-38, which that
 * instruction makes 0, aside.)
 */
public final class MatmulKernel {
  /** Rows beyond those asked for that a result needs memory for. */
  public static final int ROWS_BEYOND = 8;

  static final int MICRO_KERNEL_ROWS = 64;

  /** With more rows the micro-kernel is made for multiples of this number: so there are few. */
  private static final int EXACT_ROWS = 8;

  /** Vectors of sums that leave registers for weights. */
  public static final int SUMS =
      NativeNumbers.WIDTH == 16 || System.getProperty("os.arch").equals("aarch64") ? 16 : 8;

  private static final int VECTORS = PackedMatrix.BLOCK / NativeNumbers.WIDTH;
  private static final int BLOCK_BYTES = PackedMatrix.BLOCK * Float.BYTES; // of a row of y

  private final WeightFormat format;
  private final Optional<OneDnnMicroKernels> micro;
  private final Optional<DotKernels> code;
  private final int mostVectorRows;

  /** By rows, up to those that the Vector API takes; the first is of two blocks, for one row. */
  private final TileKernel[] tiles;

  private final Optional<GroupedMatmul> groups; // of formats that have them

  /**
   * What may multiply.
   *
   * @param micro to be used for bfloat16 with more rows than the others take
   * @param code of the weights' format
   * @param mostVectorRows rows that the Vector API takes
   */
  record Ways(Optional<OneDnnMicroKernels> micro, Optional<DotKernels> code, int mostVectorRows) {
    /** The Vector API for any number of rows. */
    static final Ways VECTORS = new Ways(Optional.empty(), Optional.empty(), Integer.MAX_VALUE);

    /** Machine code for any number of rows. */
    static Ways code(DotKernels kernels) {
      return new Ways(Optional.empty(), Optional.of(kernels), 0);
    }

    /** Micro-kernels for more rows than the Vector API takes. */
    static Ways micro(OneDnnMicroKernels kernels, int mostVectorRows) {
      return new Ways(Optional.of(kernels), Optional.empty(), mostVectorRows);
    }
  }

  /** A kernel for weights without groups. */
  MatmulKernel(WeightFormat format, Ways ways) {
    this.format = format;
    micro = ways.micro();
    code = ways.code();
    mostVectorRows = ways.mostVectorRows();
    groups = Optional.empty();
    tiles = new TileKernel[mostVectorRows == 0 ? 0 : Math.min(vectorGroup(), mostVectorRows) + 1];
    if (tiles.length > 0) {
      tiles[0] = TileKernels.of(new Variant(format, 1, 2, Math.min(VECTORS, 4), false));
    }
    for (int rows = 1; rows < tiles.length; rows++) {
      tiles[rows] = TileKernels.of(new Variant(format, rows, 1, vectors(rows), false));
    }
  }

  /**
   * A kernel for weights with scales for groups of inputs.
   *
   * @param machineCode whether {@link VnniKernels} are used
   */
  MatmulKernel(WeightFormat format, boolean machineCode) {
    this.format = format;
    micro = Optional.empty();
    code = Optional.empty();
    mostVectorRows = machineCode ? 0 : Integer.MAX_VALUE;
    tiles = new TileKernel[0];
    groups = Optional.of(new GroupedMatmul(machineCode));
  }

  /** Vectors of outputs that so many rows take at once. */
  private static int vectors(int rows) {
    return Math.min(VECTORS, Integer.highestOneBit(Math.max(1, SUMS / rows)));
  }

  /** The format of weights. */
  public WeightFormat format() {
    return format;
  }

  /** The micro-kernels that are used, if any are. */
  public Optional<OneDnnMicroKernels> micro() {
    return micro;
  }

  /** Rows that the Vector API takes. */
  public int mostVectorRows() {
    return mostVectorRows;
  }

  /**
   * With the Vector API alone.
   *
   * @throws IllegalStateException if Java runs without it
   */
  public static MatmulKernel vectors(WeightFormat format) {
    if (!NativeNumbers.HAS_VECTORS) {
      throw new IllegalStateException(
          "machine code gives wrong products of %s here; start Java with --add-modules %s"
              .formatted(format, NativeNumbers.VECTOR_MODULE));
    }
    return format.hasGroups()
        ? new MatmulKernel(format, false)
        : new MatmulKernel(format, Ways.VECTORS);
  }

  /**
   * The fastest.
   *
   * @param micro what there is of micro-kernels
   */
  public static MatmulKernel fastest(WeightFormat format, OneDnnMicroKernels.Availability micro) {
    if (format.hasGroups()) {
      return VnniKernels.work() ? new MatmulKernel(format, true) : vectors(format);
    }
    Optional<OneDnnMicroKernels> present =
        format == WeightFormat.BFLOAT16
                && micro
                    instanceof OneDnnMicroKernels.Availability.Present(OneDnnMicroKernels kernels)
            ? Optional.of(kernels)
            : Optional.empty();
    Optional<DotKernels> code = DotKernels.find(format);
    if (code.isPresent()) { // the micro-kernels gain where the processor has tiles
      boolean tiles = CpuFlags.all().contains("amx_bf16");
      return new MatmulKernel(format, new Ways(tiles ? present : Optional.empty(), code, 0));
    }
    return present
        .map(kernels -> new MatmulKernel(format, Ways.micro(kernels, 1)))
        .orElseGet(() -> vectors(format));
  }

  /** What multiplies, in words. */
  public String text() {
    List<String> ways = new ArrayList<>();
    boolean machineCode = code.isPresent() || groups.isPresent() && groups.get().machineCode();
    String type = format.name().toLowerCase(Locale.ROOT);
    if (machineCode) {
      ways.add("machine code for " + type);
    } else {
      ways.add("Vector API, %d bits, %s".formatted(8 * NativeNumbers.BYTES, type));
    }
    if (micro.isPresent()) {
      int from = (code.isPresent() ? BlockCode.MOST_ROWS : mostVectorRows) + 1;
      ways.add("oneDNN's micro-kernels from %d rows on".formatted(from));
    }
    return String.join("; ", ways);
  }

  /** Room for rows in this kernel's form. */
  public Activations allocate(int rows, int in) {
    return new Activations(this, rows, in);
  }

  /** Rows that pass the weights at once with the Vector API. */
  int vectorGroup() {
    return 8;
  }

  /**
   * Writes some blocks of outputs of a group of rows.
   *
   * @param x of this kernel
   * @param firstRow the group's, a multiple of {@link Activations#groupRows}
   * @param y address of the first row's first output; there is room for {@link #ROWS_BEYOND} more
   *     rows than there are
   * @param rowBytes from a row of y to the next
   */
  public void multiply(
      PackedMatrix w,
      int firstBlock,
      int blocks,
      Activations x,
      int firstRow,
      long y,
      long rowBytes) {
    if (!fits(w.format()) || w.in() != x.in()) {
      throw new IllegalArgumentException(
          "%s weights of %d inputs are multiplied with %s activations of %d"
              .formatted(w.format(), w.in(), format, x.in()));
    }
    int rows = Math.min(x.groupRows(), x.rows() - firstRow);
    if (groups.isPresent()) {
      groups.get().multiply(w, firstBlock, blocks, x.groups(), firstRow, rows, y, rowBytes);
    } else if (x.vectors()) {
      multiplyVectors(w, firstBlock, blocks, x, firstRow, rows, y, rowBytes);
    } else if (code.isPresent() && (rows <= BlockCode.MOST_ROWS || micro.isEmpty())) {
      multiplyByCode(w, firstBlock, blocks, x, firstRow, rows, y, rowBytes);
    } else {
      long count = rows <= EXACT_ROWS ? rows : Math.ceilDiv(rows, EXACT_ROWS) * EXACT_ROWS;
      for (int i = 0; i < blocks; i++) {
        OneDnnMicroKernels.multiply(
            count,
            x.padded(),
            x.address(firstRow),
            w.block(firstBlock + i),
            y + (long) i * BLOCK_BYTES,
            rowBytes / Float.BYTES);
      }
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
      Activations x,
      int firstRow,
      int rows,
      long y,
      long rowBytes) {
    DotKernels kernels = code.orElseThrow();
    int most = BlockCode.MOST_ROWS;
    int together = rows <= most ? blocks : 1; // which stays in the nearest cache
    for (int block = 0; block < blocks; block += together) {
      for (int row = 0; row < rows; row += most) {
        kernels.multiply(
            w,
            firstBlock + block,
            together,
            Math.min(most, rows - row),
            x.address(firstRow + row),
            y + (long) block * BLOCK_BYTES + row * rowBytes,
            rowBytes);
      }
    }
  }

  private void multiplyVectors(
      PackedMatrix w,
      int firstBlock,
      int blocks,
      Activations x,
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
      Activations x,
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
