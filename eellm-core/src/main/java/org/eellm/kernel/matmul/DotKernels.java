package org.eellm.kernel.matmul;

import java.util.EnumMap;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.machine.ExecutableMemory;
import org.eellm.kernel.vector.NativeFunction;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.WeightFormat;

/**
 * {@link DotCode} in executable memory: {@code y = x W^T} of a few rows with float32 or bfloat16
 * weights, sums in float32, one call for many blocks of outputs. Weights come at the memory's rate,
 * and as long as they do, further rows are free. A row's result is that of {@link MatmulKernel}'s
 * other ways, to the bit.
 */
final class DotKernels {
  private static final Map<WeightFormat, Optional<DotKernels>> LOADED =
      new EnumMap<>(WeightFormat.class);

  private final CodeTarget target;
  private final NativeFunction[] functions; // by rows

  private DotKernels(CodeTarget target, NativeFunction[] functions) {
    this.target = target;
    this.functions = functions;
  }

  /**
   * The fastest for a format without groups that can be used: on Linux, where the processor knows
   * the instructions, and small products come out right.
   */
  static Optional<DotKernels> find(WeightFormat format) {
    synchronized (LOADED) {
      return LOADED.computeIfAbsent(
          format,
          _ ->
              CodeTarget.candidates().stream()
                  .flatMap(target -> load(format, target).stream())
                  .findFirst());
    }
  }

  /** Those for a processor, if they can be used here. */
  static Optional<DotKernels> load(WeightFormat format, CodeTarget target) {
    return ExecutableMemory.store(
            IntStream.rangeClosed(1, BlockCode.MOST_ROWS)
                .<Supplier<MachineCode>>mapToObj(rows -> () -> DotCode.of(format, rows, target))
                .toList())
        .map(functions -> new DotKernels(target, functions))
        .filter(
            kernels ->
                KernelProbe.passes(new MatmulKernel(format, kernels), 1, BlockCode.MOST_ROWS));
  }

  CodeTarget target() {
    return target;
  }

  /**
   * Writes some blocks of outputs of some rows.
   *
   * @param rows from 1 to {@link BlockCode#MOST_ROWS}
   * @param x address of the first row: [rows, steps] of 32 bits
   * @param y address of the first row's first output, float32
   */
  void multiply(
      PackedMatrix w, int firstBlock, long blocks, int rows, long x, long y, long yRowBytes) {
    long steps = w.steps();
    long blockUnits = steps * PackedMatrix.BLOCK;
    functions[rows - 1].call(
        w.block(firstBlock), blocks, x, 4 * steps, y, yRowBytes, blockUnits, 0);
  }
}
