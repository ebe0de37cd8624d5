package org.eellm.kernel.matmul;

import org.eellm.kernel.assembler.Gp;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.assembler.Memory;
import org.eellm.kernel.assembler.Operand;
import org.eellm.kernel.assembler.Vector;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Machine code for products of a few rows with packed weights in float32 or bfloat16: a dozen
 * instructions, written out for a number of rows. Java's compilers do not emit {@code vdpbf16ps},
 * nor ask ahead for weights.
 *
 * <p>A step is an input, or a pair of them in bfloat16. {@code more} is not used.
 */
final class DotCode extends BlockCode {
  private static final int STEP_SHIFT = 8; // by which steps become bytes of weights
  private static final int PAIR_VECTORS = 2; // whose weights AVX2 has in registers at once
  private static final Vector PAIR_WEIGHTS = ymm(12);
  private static final Vector PAIR_INPUT = ymm(14);
  private static final Vector UPPER_HALVES = ymm(15); // a mask

  private final WeightFormat format;

  private DotCode(WeightFormat format, int rows, CodeTarget target) {
    super(rows, target);
    this.format = format;
  }

  /** The function for weights of a format without groups, and so many rows. */
  static MachineCode of(WeightFormat format, int rows, CodeTarget target) {
    return new DotCode(format, rows, target).write(0);
  }

  @Override
  void begin() {
    if (!isAvx512() && format == WeightFormat.BFLOAT16) {
      fillInts(UPPER_HALVES, 0xFFFF0000);
    }
    shr(R14, 6); // the steps
  }

  /**
   * With fewer rows the processor's own prefetching does better (seen in bfloat16 on Zen 4 and 5),
   * but for Intel's: on Sapphire Rapids asking makes one row a fifth faster. With AVX2 asking pays
   * with one row of bfloat16, too, a tenth on Zen 3; one of float32 is an eighth slower there.
   */
  private boolean asksAhead() {
    return target.intel() || rows >= 3 || !isAvx512() && format == WeightFormat.BFLOAT16;
  }

  @Override
  void outputs(int streams) {
    if (slices > 1) {
      clearOutputs(streams);
      inSlices();
      return;
    }
    for (int sum = 0; sum < rows * streams * vectors; sum++) {
      clear(vector(sum));
    }
    xor(R13D, R13D); // the step
    steps(streams, 0, R14);
    store(streams, 0);
  }

  /**
   * Takes some steps at a time, and for these the outputs in slices: so weights come from memory in
   * their order, and the next ones come while all slices of those before are multiplied.
   */
  private void inSlices() {
    xor(R13D, R13D); // the step
    Label chunk = here();
    mov(R15, STEP); // where the chunk begins
    lea(R12, at(STEP, AHEAD / STEP_BYTES)); // and ends
    cmp(R12, R14);
    cmovg(R12, R14);
    for (int slice = 0; slice < slices; slice++) {
      if (slice > 0) { // back
        mov(RCX, R12);
        sub(RCX, R15);
        shl(RCX, STEP_SHIFT);
        sub(RDI, RCX);
        mov(STEP, R15);
      }
      load(slice);
      steps(1, slice, R12);
      store(1, slice);
    }
    cmp(STEP, R14);
    jl(chunk);
  }

  /** Adds the products of steps to the sums of a slice. */
  private void steps(int streams, int slice, Gp end) {
    Label step = here();
    for (int stream = 0; stream < streams; stream++) {
      if (asksAhead()) {
        prefetch(stream, slice, 0);
      }
      if (isAvx512()) {
        multiply(streams, stream);
      } else {
        multiplyPairs(slice);
      }
    }
    add(RDI, STEP_BYTES);
    inc(STEP);
    cmp(STEP, end);
    jl(step);
  }

  private void multiply(int streams, int stream) {
    Vector firstWeights = zmm(24);
    if (rows > 1) {
      for (int v = 0; v < vectors; v++) {
        vmovups(firstWeights.plus(v), weights(stream, v * vectorBytes));
      }
    }
    for (int row = 0; row < rows; row++) {
      Vector input = zmm(28 + row % 4); // of several streams there are so few rows
      if (stream == 0) {
        vpbroadcastd(input, input(row, 0));
      }
      for (int v = 0; v < vectors; v++) {
        Vector sum = sum(streams, row, stream, v);
        if (rows > 1) {
          addProduct(sum, firstWeights.plus(v), input);
        } else {
          addProduct(sum, input, weights(stream, v * vectorBytes));
        }
      }
    }
  }

  private void addProduct(Vector sum, Vector first, Operand second) {
    switch (format) {
      case FLOAT32 -> vfmadd231ps(sum, first, second);
      case BFLOAT16 -> vdpbf16ps(sum, first, second);
      case INT8, INT4 -> throw new IllegalArgumentException(format.toString());
    }
  }

  /** The step for AVX2, which has fused multiplications of float32 alone. */
  private void multiplyPairs(int slice) {
    for (int v = 0; v < vectors; v += PAIR_VECTORS) {
      for (int half = format.inputsTogether() - 1; half >= 0; half--) { // as vdpbf16ps adds them
        for (int i = 0; i < PAIR_VECTORS; i++) {
          load(PAIR_WEIGHTS.plus(i), weights(0, place(slice, v + i)), half);
        }
        for (int row = 0; row < rows; row++) {
          int stepBytes = format.inputsTogether() * Float.BYTES; // of inputs, which are float32
          vbroadcastss(PAIR_INPUT, at(ROWS[row], STEP, stepBytes, half * Float.BYTES));
          for (int i = 0; i < PAIR_VECTORS; i++) {
            vfmadd231ps(sum(1, row, 0, v + i), PAIR_INPUT, PAIR_WEIGHTS.plus(i));
          }
        }
      }
    }
  }

  private void load(Vector to, Memory from, int half) {
    vmovups(to, from);
    if (format == WeightFormat.BFLOAT16) {
      widen(to, half);
    }
  }

  /** Makes float32 numbers of the upper or the lower half of 32 bits. */
  private void widen(Vector pairs, int half) {
    if (half == 1) {
      vpandd(pairs, pairs, UPPER_HALVES);
    } else {
      vpslld(pairs, pairs, Short.SIZE);
    }
  }

  private void load(int slice) {
    mov(RCX, R8); // a row of y
    for (int row = 0; row < rows; row++) {
      for (int v = 0; v < vectors; v++) {
        vmovups(sum(1, row, 0, v), at(RCX, place(slice, v)));
      }
      add(RCX, R9);
    }
  }

  private void store(int streams, int slice) {
    mov(RCX, R8); // a row of y
    for (int row = 0; row < rows; row++) {
      for (int v = 0; v < streams * vectors; v++) {
        vmovups(at(RCX, place(slice, v)), sum(streams, row, 0, v));
      }
      add(RCX, R9);
    }
  }
}
