package org.eellm.kernel.matmul;

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
 * {@link DotCode} or {@link NeonCode}, or {@link HalvesCode} and {@link AmxCode}, in executable
 * memory: {@code y = x W^T} of a few rows with float32 or bfloat16 weights, sums in float32, one
 * call for many blocks of outputs. Weights come at the memory's rate, and as long as they do,
 * further rows are free. A row's result is that of {@link MatmulKernel}'s other ways in the same
 * order, to the bit.
 */
final class DotKernels implements RowsByMatrix {
  private static final int TILE_ROWS = AmxCode.TILE_ROWS;

  private record Key(WeightFormat format, SumOrder order) {}

  private static final Map<Key, Optional<DotKernels>> LOADED = new ConcurrentHashMap<>();

  private final CodeTarget target;
  private final SumOrder order;

  /**
   * By rows. By tiles those for one row and for one or two tiles of them, which ask ahead; then for
   * one or two tiles of further rows, for which weights are in the cache.
   */
  private final NativeFunction[] functions;

  private DotKernels(CodeTarget target, SumOrder order, NativeFunction[] functions) {
    this.target = target;
    this.order = order;
    this.functions = functions;
  }

  /**
   * The fastest for a format without groups that can be used: on Linux, where the processor knows
   * the instructions, and small products come out right.
   */
  static Optional<DotKernels> find(WeightFormat format, SumOrder order) {
    return LOADED.computeIfAbsent(
        new Key(format, order),
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
          ? load(target, order, tiles, format).or(() -> load(target, order, List.of(one), format))
          : Optional.empty(); // without vdpbf16ps
    }
    return load(
        target,
        order,
        IntStream.rangeClosed(1, target.mostRows())
            .<Supplier<MachineCode>>mapToObj(rows -> () -> target.code(format, rows))
            .toList(),
        format);
  }

  private static Optional<DotKernels> load(
      CodeTarget target,
      SumOrder order,
      List<Supplier<MachineCode>> functions,
      WeightFormat format) {
    return ExecutableMemory.store(functions)
        .map(stored -> new DotKernels(target, order, stored))
        .filter(
            kernels ->
                KernelProbe.passes(new MatmulKernel(format, order, kernels), kernels.probedRows()));
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
    return hasTiles() ? AmxCode.MOST_ROWS : functions.length;
  }

  /** By which each function has its turn. */
  private int[] probedRows() {
    return hasTiles()
        ? new int[] {1, 7, AmxCode.MOST_ROWS + 7, AmxCode.MOST_ROWS + TILE_ROWS + 2}
        : IntStream.rangeClosed(1, functions.length).toArray();
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
    long blockUnits = (long) w.steps() * PackedMatrix.BLOCK;
    function(firstRow, rows)
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

  private NativeFunction function(int firstRow, int rows) {
    if (!hasTiles()) {
      return functions[rows - 1];
    }
    int tiles = Math.ceilDiv(rows, TILE_ROWS);
    return functions[firstRow > 0 ? 2 + tiles : rows == 1 ? 0 : tiles];
  }
}
