package org.eellm.kernel.matmul;

import java.util.Optional;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.machine.CpuFlags;
import org.eellm.kernel.machine.ExecutableMemory;
import org.eellm.kernel.row.VectorGroups;
import org.eellm.kernel.vector.NativeFunction;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.WeightFormat;

/** {@link VnniCode} in executable memory, as {@link DotKernels} are. */
final class VnniKernels {
  private static final int MOST_ROWS = BlockCode.MOST_ROWS;

  /** By rows: those for 8 bits, then those for 4; none where they cannot be used. */
  private static final NativeFunction[] FUNCTIONS = load().orElse(new NativeFunction[0]);

  private VnniKernels() {}

  /** What a first try found; later ones find the same. */
  private static final class ProbeResult {
    private static final boolean RESULT =
        Stream.of(WeightFormat.INT8, WeightFormat.INT4)
            .allMatch(format -> KernelProbe.passes(new MatmulKernel(format, true), 1, MOST_ROWS));
  }

  /**
   * Whether they can be used: on Linux, where the processor knows the instruction, and small
   * products come out right.
   */
  static boolean work() {
    return FUNCTIONS.length > 0 && ProbeResult.RESULT;
  }

  private static Optional<NativeFunction[]> load() {
    boolean intel = CpuFlags.isIntel();
    return NativeNumbers.WIDTH >= VectorGroups.LEAST_WIDTH
        ? ExecutableMemory.store(
            Stream.of(8, 4)
                .flatMap(
                    bits ->
                        IntStream.rangeClosed(1, MOST_ROWS)
                            .<Supplier<MachineCode>>mapToObj(
                                rows -> () -> VnniCode.of(bits, rows, intel)))
                .toList())
        : Optional.empty();
  }

  /**
   * Writes some blocks of outputs of some rows.
   *
   * @param rows from 1 to {@link BlockCode#MOST_ROWS}
   * @param x address of the first row, as {@link QuantizedInput} has it
   * @param y address of the first row's first output, float32
   */
  static void multiply(
      PackedMatrix w,
      int firstBlock,
      long blocks,
      int rows,
      long x,
      long units,
      long y,
      long yRowBytes) {
    int place = (w.format().bits() == 8 ? 0 : MOST_ROWS) + rows - 1;
    long from = w.block(firstBlock);
    long chunks = w.format().group() / VnniCode.CHUNK;
    FUNCTIONS[place].call(from, blocks, x, 4 * units, y, yRowBytes, w.blockBytes() / 4, chunks);
  }
}
