package org.eellm.kernel.product;

import static org.eellm.kernel.machine.MachineCode.NO_INDEX;
import static org.eellm.kernel.machine.MachineCode.R10;
import static org.eellm.kernel.machine.MachineCode.R11;
import static org.eellm.kernel.machine.MachineCode.R13;
import static org.eellm.kernel.machine.MachineCode.RAX;
import static org.eellm.kernel.machine.MachineCode.RBP;
import static org.eellm.kernel.machine.MachineCode.RBX;
import static org.eellm.kernel.machine.MachineCode.RCX;
import static org.eellm.kernel.machine.MachineCode.RDI;
import static org.eellm.kernel.machine.MachineCode.RDX;
import static org.eellm.kernel.machine.MachineCode.VECTOR_BYTES;

import org.eellm.kernel.machine.CpuFlags;
import org.eellm.kernel.machine.MachineCode;
import org.eellm.kernel.machine.MachineCode.Operation;

/**
 * Machine code for products of a few rows with packed bfloat16 weights, for x86-64 processors with
 * {@code vdpbf16ps}: a dozen instructions, written out for a number of rows. Java's compilers do
 * not emit that instruction; and here weights are asked for ahead of their use, which neither the
 * Vector API nor oneDNN's kernels do.
 *
 * <p>The function, by the System V convention: {@code void f(long w, long blocks, long x, long
 * xRowBytes, long y, long yRowBytes, long steps)}. It goes through the blocks of 64 outputs, and in
 * a block through the pairs of inputs, one {@code step} each; 4 vectors of sums a row stay in
 * registers.
 */
final class Bfloat16DotCode {
  /** Most rows, whose sums leave registers for weights. */
  static final int MOST_ROWS = 6;

  /** How far ahead weights are asked for, in bytes. */
  static final int AHEAD = 4096;

  /**
   * With fewer rows the processor's own prefetching does better, but for Intel's: on Sapphire
   * Rapids asking makes one row a sixth faster.
   */
  private static final int LEAST_ROWS_AHEAD = CpuFlags.isIntel() ? 1 : 3;

  private static final int VECTORS = 4; // of a block's outputs
  private static final int STEP_BYTES = VECTORS * VECTOR_BYTES;

  /** Pointers to the rows of x. */
  private static final int[] ROWS = {RDX, R10, R11, RAX, RBX, RBP};

  private static final int WEIGHTS = 24; // the first vector register of weights
  private static final int INPUT = 28;

  private Bfloat16DotCode() {}

  /** The function for so many rows. */
  static byte[] of(int rows) {
    MachineCode code = new MachineCode();
    code.bytes(0x53, 0x55, 0x41, 0x55, 0x41, 0x56); // push rbx, rbp, r13, r14
    code.bytes(0x4C, 0x8B, 0x74, 0x24, 0x28); // mov r14, [rsp + 40]: steps
    for (int row = 1; row < rows; row++) {
      code.addressOfSum(ROWS[row], ROWS[row - 1], RCX);
    }
    int block = code.position();
    for (int sum = 0; sum < rows * VECTORS; sum++) {
      code.vector(Operation.EXCLUSIVE_OR, sum, sum, sum);
    }
    code.bytes(0x45, 0x31, 0xED); // xor r13d, r13d: the step
    int step = code.position();
    for (int v = 0; v < VECTORS && rows >= LEAST_ROWS_AHEAD; v++) {
      code.prefetchWeights(AHEAD + v * VECTOR_BYTES);
    }
    if (rows > 1) {
      for (int v = 0; v < VECTORS; v++) {
        code.vector(Operation.LOAD_FLOATS, WEIGHTS + v, 0, RDI, NO_INDEX, v * VECTOR_BYTES);
      }
    }
    for (int row = 0; row < rows; row++) {
      int input = INPUT + row % 4;
      code.vector(Operation.BROADCAST_INT, input, 0, ROWS[row], R13, 0);
      for (int v = 0; v < VECTORS; v++) {
        int sum = row * VECTORS + v;
        if (rows > 1) {
          code.vector(Operation.DOT_OF_BFLOAT16, sum, WEIGHTS + v, input);
        } else {
          code.vector(Operation.DOT_OF_BFLOAT16, sum, input, RDI, NO_INDEX, v * VECTOR_BYTES);
        }
      }
    }
    code.advance(RDI, STEP_BYTES);
    code.bytes(0x49, 0xFF, 0xC5); // inc r13
    code.bytes(0x4D, 0x39, 0xF5); // cmp r13, r14
    code.bytes(0x0F, 0x8C); // jl
    code.distanceTo(step);
    code.bytes(0x4C, 0x89, 0xC1); // mov rcx, r8: a row of y
    for (int row = 0; row < rows; row++) {
      for (int v = 0; v < VECTORS; v++) {
        code.vector(Operation.STORE_FLOATS, row * VECTORS + v, 0, RCX, NO_INDEX, v * VECTOR_BYTES);
      }
      code.bytes(0x4C, 0x01, 0xC9); // add rcx, r9
    }
    code.bytes(0x49, 0x81, 0xC0); // add r8, ...
    code.number(STEP_BYTES);
    code.bytes(0x48, 0xFF, 0xCE); // dec rsi
    code.bytes(0x0F, 0x85); // jnz
    code.distanceTo(block);
    code.bytes(0xC5, 0xF8, 0x77); // vzeroupper
    code.bytes(0x41, 0x5E, 0x41, 0x5D, 0x5D, 0x5B, 0xC3); // pop r14, r13, rbp, rbx; ret
    return code.toByteArray();
  }
}
