package org.eellm.kernel.product;

import java.util.Optional;
import java.util.stream.IntStream;
import org.eellm.kernel.machine.ExecutableMemory;
import org.eellm.kernel.vector.NativeFunction;
import org.eellm.kernel.weight.WeightFormat;

/**
 * {@link Bfloat16DotCode} in executable memory: {@code y = x W^T} of a few rows with bfloat16
 * weights, sums in float32, one call for many blocks of outputs. Weights come at the memory's rate,
 * and as long as they do, further rows are free. A row's result is that of {@link MatmulKernel}'s
 * other ways, to the bit.
 */
final class Bfloat16DotKernels {
  /** Most rows of a call. */
  static final int MOST_ROWS = Bfloat16DotCode.MOST_ROWS;

  /** By rows; none where they cannot be used. */
  private static final NativeFunction[] FUNCTIONS = load().orElse(new NativeFunction[0]);

  private Bfloat16DotKernels() {}

  /** What a first try found; later ones find the same. */
  private static final class ProbeResult {
    private static final boolean RESULT =
        IntStream.rangeClosed(1, MOST_ROWS)
            .allMatch(
                rows ->
                    new MatmulKernel(WeightFormat.BFLOAT16, MatmulKernel.Ways.PAIRS)
                        .equalsVectors(rows));
  }

  /**
   * Whether they can be used: on Linux, where the processor knows the instruction, and small
   * products come out right.
   */
  static boolean work() {
    return FUNCTIONS.length > 0 && ProbeResult.RESULT;
  }

  private static Optional<NativeFunction[]> load() {
    return ExecutableMemory.has("avx512_bf16")
        ? ExecutableMemory.store(
            IntStream.rangeClosed(1, MOST_ROWS).mapToObj(Bfloat16DotCode::of).toList())
        : Optional.empty();
  }

  /**
   * Writes some blocks of outputs of some rows.
   *
   * @param rows from 1 to {@link #MOST_ROWS}
   * @param w address of the first block: bfloat16, [blocks, steps, 64, 2]
   * @param x address of the first row: bfloat16, [rows, 2 steps]
   * @param y address of the first row's first output, float32
   */
  static void multiply(
      int rows, long w, long blocks, long x, long xRowBytes, long y, long yRowBytes, long steps) {
    FUNCTIONS[rows - 1].call(w, blocks, x, xRowBytes, y, yRowBytes, steps, 0);
  }
}
