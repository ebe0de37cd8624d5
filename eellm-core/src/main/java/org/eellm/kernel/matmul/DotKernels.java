package org.eellm.kernel.matmul;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.machine.ExecutableMemory;
import org.eellm.kernel.vector.NativeFunction;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.WeightFormat;

/**
 * {@link DotCode}, {@link GroupCode} or {@link NeonCode}, or {@link HalvesCode} and {@link
 * AmxCode}, in executable memory: {@code y = x W^T} of a few rows, sums in float32, one call for
 * many blocks of outputs. Weights whose inputs share scales in groups have sums of a group in
 * integers, then {@code y += sum (scale of w * scale of x)}, group after group. Weights come at the
 * memory's rate, and as long as they do, further rows are free. A row's result is that of {@link
 * MatmulKernel}'s other ways in the same order, to the bit.
 */
final class DotKernels implements RowsByMatrix {
  private static final int TILE_ROWS = AmxCode.TILE_ROWS;

  /** From 768 inputs on tiles are faster for one row, too: by 7 %, and 3 % slower for 512. */
  private static final int LONG_STEPS = 384;

  private record Key(WeightFormat format, SumOrder order) {}

  /** Formats that share the form of activations, and so a kernel. */
  private static final List<WeightFormat> OF_GROUPS = List.of(WeightFormat.INT8, WeightFormat.INT4);

  private static final Map<Key, Optional<DotKernels>> LOADED = new ConcurrentHashMap<>();

  private final CodeTarget target;
  private final SumOrder order;

  /**
   * By rows; of groups those for 8 bits, then those for 4. By tiles those for one row of few inputs
   * and for one or two tiles of rows, which ask ahead; then for one or two tiles of further rows,
   * for which weights are in the cache.
   */
  private final NativeFunction[] functions;

  private final int mostRows;

  private DotKernels(CodeTarget target, SumOrder order, NativeFunction[] functions, int formats) {
    this.target = target;
    this.order = order;
    this.functions = functions;
    mostRows = hasTiles() ? AmxCode.MOST_ROWS : functions.length / formats;
  }

  /**
   * The fastest for a format that can be used: on Linux, where the processor knows the
   * instructions, and small products come out right.
   */
  static Optional<DotKernels> find(WeightFormat format, SumOrder order) {
    return LOADED.computeIfAbsent(
        new Key(format.hasGroups() ? WeightFormat.INT8 : format, order),
        _ ->
            CodeTarget.candidates().stream()
                .filter(target -> target.isFor(format))
                .flatMap(target -> load(format, target, order).stream())
                .findFirst());
  }

  static Optional<DotKernels> load(WeightFormat format, CodeTarget target, SumOrder order) {
    if (order == SumOrder.TILES) {
      Supplier<MachineCode> one = () -> HalvesCode.of(target);
      List<Supplier<MachineCode>> tiles =
          List.of(
              one,
              () -> AmxCode.few(true),
              () -> AmxCode.many(true),
              () -> AmxCode.few(false),
              () -> AmxCode.many(false));
      return target.isAvx512()
          ? load(target, order, tiles, List.of(format))
              .or(() -> load(target, order, List.of(one), List.of(format)))
          : Optional.empty(); // too few registers for halves
    }
    List<WeightFormat> formats = format.hasGroups() ? OF_GROUPS : List.of(format);
    List<Supplier<MachineCode>> functions = new ArrayList<>();
    for (WeightFormat each : formats) {
      for (int rows = 1; rows <= target.mostRows(); rows++) {
        int count = rows;
        functions.add(() -> target.code(each, count));
      }
    }
    return load(target, order, functions, formats);
  }

  private static Optional<DotKernels> load(
      CodeTarget target,
      SumOrder order,
      List<Supplier<MachineCode>> functions,
      List<WeightFormat> formats) {
    return ExecutableMemory.store(functions)
        .map(stored -> new DotKernels(target, order, stored, formats.size()))
        .filter(
            kernels ->
                formats.stream()
                    .map(format -> new MatmulKernel(format, order, kernels))
                    .allMatch(kernel -> KernelProbe.passes(kernel, kernels.probedRows())));
  }

  CodeTarget target() {
    return target;
  }

  /** Whether tiles multiply where there are several rows. */
  boolean hasTiles() {
    return order == SumOrder.TILES && functions.length > 1;
  }

  @Override
  public int mostRows() {
    return mostRows;
  }

  /** By which each function has its turn. */
  private int[] probedRows() {
    return hasTiles()
        ? new int[] {1, 7, AmxCode.MOST_ROWS + 7, AmxCode.MOST_ROWS + TILE_ROWS + 2}
        : IntStream.rangeClosed(1, mostRows).toArray();
  }

  @Override
  public void multiply(
      PackedMatrix w,
      int firstBlock,
      int blocks,
      PackedInput x,
      int firstRow,
      int rows,
      long y,
      long yRowBytes) {
    if (w.format().hasGroups()) {
      int place = (w.format().bits() == 8 ? 0 : mostRows) + rows - 1;
      long from = w.block(firstBlock);
      long chunks = w.format().group() / GroupCode.CHUNK;
      QuantizedInput input = x.quantized();
      long inputAt = input.row(firstRow);
      functions[place].call(
          from, blocks, inputAt, 4L * input.units(), y, yRowBytes, w.blockBytes() / 4, chunks);
      return;
    }
    long blockUnits = (long) w.steps() * PackedMatrix.BLOCK;
    function(firstRow, rows, w.steps())
        .call(
            w.block(firstBlock),
            blocks,
            x.address(firstRow),
            x.rowBytes(),
            y,
            yRowBytes,
            blockUnits,
            AmxCode.tileRows(rows));
  }

  private NativeFunction function(int firstRow, int rows, int steps) {
    if (!hasTiles()) {
      return functions[rows - 1];
    }
    int tiles = Math.ceilDiv(rows, TILE_ROWS);
    boolean byVectors = rows == 1 && steps < LONG_STEPS;
    return functions[firstRow > 0 ? 2 + tiles : byVectors ? 0 : tiles];
  }
}
