package org.eellm.kernel.matmul;

import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.assembler.Operand;
import org.eellm.kernel.assembler.Vector;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Machine code for products of a few rows with packed weights in float32, or in bfloat16 for
 * processors with {@code vdpbf16ps}: a dozen instructions, written out for a number of rows. Java's
 * compilers do not emit that instruction, and the Vector API does not ask ahead for weights.
 *
 * <p>A step is an input, or a pair of them in bfloat16. {@code more} is not used.
 */
final class DotCode extends BlockCode {
  private final WeightFormat format;

  private DotCode(WeightFormat format, int rows, boolean intel) {
    super(rows, intel);
    this.format = format;
  }

  /** The function for weights of a format without groups, and so many rows. */
  static MachineCode of(WeightFormat format, int rows, boolean intel) {
    return new DotCode(format, rows, intel).write();
  }

  @Override
  void begin() {
    shr(R14, 6); // the steps
  }

  /**
   * With fewer rows the processor's own prefetching does better (seen in bfloat16 on Zen 4 and 5),
   * but for Intel's: on Sapphire Rapids asking makes one row a fifth faster.
   */
  private boolean asksAhead() {
    return intel || rows >= 3;
  }

  @Override
  void blocks(int streams) {
    for (int sum = 0; sum < rows * streams * VECTORS; sum++) {
      vpxord(zmm(sum), zmm(sum), zmm(sum));
    }
    xor(R13D, R13D); // the step
    Label step = here();
    for (int stream = 0; stream < streams; stream++) {
      if (asksAhead()) {
        prefetch(stream, 0);
      }
      multiply(streams, stream);
    }
    add(RDI, STEP_BYTES);
    inc(STEP);
    cmp(STEP, R14);
    jl(step);
    store(streams);
  }

  private void multiply(int streams, int stream) {
    if (rows > 1) {
      for (int v = 0; v < VECTORS; v++) {
        vmovups(WEIGHTS.plus(v), weights(stream, v * VECTOR_BYTES));
      }
    }
    for (int row = 0; row < rows; row++) {
      Vector input = INPUT.plus(row % 4); // of several streams there are so few rows
      if (stream == 0) {
        vpbroadcastd(input, input(row, 0));
      }
      for (int v = 0; v < VECTORS; v++) {
        Vector sum = sum(streams, row, stream, v);
        if (rows > 1) {
          addProduct(sum, WEIGHTS.plus(v), input);
        } else {
          addProduct(sum, input, weights(stream, v * VECTOR_BYTES));
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

  private void store(int streams) {
    mov(RCX, R8); // a row of y
    for (int row = 0; row < rows; row++) {
      for (int v = 0; v < streams * VECTORS; v++) {
        vmovups(at(RCX, v * VECTOR_BYTES), sum(streams, row, 0, v));
      }
      add(RCX, R9);
    }
  }
}
