package org.eellm.kernel.matmul;

import java.util.Optional;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.machine.ExecutableMemory;
import org.eellm.kernel.vector.NativeFunction;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.WeightFormat;

/**
 * {@link GroupCode} or {@link NeonCode} in executable memory, as {@link DotKernels} are: products
 * with weights whose inputs share scales in groups, sums of a group in integers, then {@code y +=
 * sum (scale of w * scale of x)} in float32, group after group.
 */
final class GroupKernels implements RowsByMatrix {
  /** Made when they are first asked for. */
  private static final class Choice {
    private static final Optional<GroupKernels> KERNELS =
        CodeTarget.candidates().stream()
            .filter(target -> target.isFor(WeightFormat.INT8))
            .flatMap(target -> load(target).stream())
            .findFirst();
  }

  private final CodeTarget target;
  private final NativeFunction[] functions; // by rows: those for 8 bits, then those for 4

  private GroupKernels(CodeTarget target, NativeFunction[] functions) {
    this.target = target;
    this.functions = functions;
  }

  /**
   * The fastest that can be used: on Linux, where the processor knows the instructions, and small
   * products come out right.
   */
  static Optional<GroupKernels> find() {
    return Choice.KERNELS;
  }

  static Optional<GroupKernels> load(CodeTarget target) {
    return ExecutableMemory.store(
            Stream.of(WeightFormat.INT8, WeightFormat.INT4)
                .flatMap(
                    format ->
                        IntStream.rangeClosed(1, target.mostRows())
                            .<Supplier<MachineCode>>mapToObj(
                                rows -> () -> target.code(format, rows)))
                .toList())
        .map(functions -> new GroupKernels(target, functions))
        .filter(
            kernels ->
                Stream.of(WeightFormat.INT8, WeightFormat.INT4)
                    .allMatch(
                        format ->
                            KernelProbe.passes(
                                new MatmulKernel(format, SumOrder.CHAIN, kernels),
                                IntStream.rangeClosed(1, target.mostRows()).toArray())));
  }

  CodeTarget target() {
    return target;
  }

  @Override
  public int mostRows() {
    return target.mostRows();
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
    int place = (w.format().bits() == 8 ? 0 : mostRows()) + rows - 1;
    long from = w.block(firstBlock);
    long chunks = w.format().group() / GroupCode.CHUNK;
    QuantizedInput input = x.quantized();
    functions[place].call(
        from,
        blocks,
        input.row(firstRow),
        4L * input.units(),
        y,
        yRowBytes,
        w.blockBytes() / 4,
        chunks);
  }
}
