package org.eellm.kernel.product;

import static org.eellm.kernel.machine.MachineCode.NO_INDEX;
import static org.eellm.kernel.machine.MachineCode.R13;
import static org.eellm.kernel.machine.MachineCode.RCX;
import static org.eellm.kernel.machine.MachineCode.RDI;
import static org.eellm.kernel.machine.MachineCode.VECTOR_BYTES;

import org.eellm.kernel.machine.CpuFlags;
import org.eellm.kernel.machine.MachineCode.Operation;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Machine code for products of a few rows with packed weights in float32, or in bfloat16 for
 * processors with {@code vdpbf16ps}: a dozen instructions, written out for a number of rows. Java's
 * compilers do not emit that instruction; and neither the Vector API nor oneDNN's kernels ask ahead
 * for weights.
 *
 * <p>A step is an input, or a pair of them in bfloat16. {@code more} is not used.
 */
final class DotCode extends BlockCode {
  /**
   * With fewer rows the processor's own prefetching does better (seen in bfloat16 on Zen 4 and 5),
   * but for Intel's: on Sapphire Rapids asking makes one row a fifth faster.
   */
  private static final int LEAST_ROWS_AHEAD = CpuFlags.isIntel() ? 1 : 3;

  private final Operation operation;

  private DotCode(WeightFormat format, int rows) {
    super(rows);
    operation =
        switch (format) {
          case FLOAT32 -> Operation.ADD_PRODUCT;
          case BFLOAT16 -> Operation.DOT_OF_BFLOAT16;
          case INT8, INT4 -> throw new IllegalArgumentException(format.toString());
        };
  }

  /** The function for weights of a format without groups, and so many rows. */
  static byte[] of(WeightFormat format, int rows) {
    return new DotCode(format, rows).write();
  }

  @Override
  void begin() {
    code.bytes(0x49, 0xC1, 0xEE, 6); // shr r14, 6: the steps
  }

  @Override
  void blocks(int streams) {
    for (int sum = 0; sum < rows * streams * VECTORS; sum++) {
      code.vector(Operation.EXCLUSIVE_OR, sum, sum, sum);
    }
    code.bytes(0x45, 0x31, 0xED); // xor r13d, r13d: the step
    int step = code.position();
    for (int stream = 0; stream < streams; stream++) {
      if (rows >= LEAST_ROWS_AHEAD) {
        prefetch(stream, 0);
      }
      multiply(streams, stream);
    }
    code.advance(RDI, STEP_BYTES);
    code.bytes(0x49, 0xFF, 0xC5); // inc r13
    code.bytes(0x4D, 0x39, 0xF5); // cmp r13, r14
    code.bytes(0x0F, 0x8C); // jl
    code.distanceTo(step);
    store(streams);
  }

  private void multiply(int streams, int stream) {
    if (rows > 1) {
      for (int v = 0; v < VECTORS; v++) {
        ofWeights(Operation.LOAD_FLOATS, WEIGHTS + v, 0, stream, v * VECTOR_BYTES);
      }
    }
    for (int row = 0; row < rows; row++) {
      int input = INPUT + row % 4; // of several streams there are so few rows
      if (stream == 0) {
        code.vector(Operation.BROADCAST_INT, input, 0, ROWS[row], R13, 0);
      }
      for (int v = 0; v < VECTORS; v++) {
        int sum = sum(streams, row, stream, v);
        if (rows > 1) {
          code.vector(operation, sum, WEIGHTS + v, input);
        } else {
          ofWeights(operation, sum, input, stream, v * VECTOR_BYTES);
        }
      }
    }
  }

  private void store(int streams) {
    code.bytes(0x4C, 0x89, 0xC1); // mov rcx, r8: a row of y
    for (int row = 0; row < rows; row++) {
      for (int v = 0; v < streams * VECTORS; v++) {
        int sum = sum(streams, row, 0, v);
        code.vector(Operation.STORE_FLOATS, sum, 0, RCX, NO_INDEX, v * VECTOR_BYTES);
      }
      code.bytes(0x4C, 0x01, 0xC9); // add rcx, r9
    }
  }
}
