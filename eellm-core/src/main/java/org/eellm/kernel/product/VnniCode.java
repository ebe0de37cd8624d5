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
 * Machine code for products of a few rows with weights of 8 or 4 bits that have a scale for each
 * group of inputs, for x86-64 processors with {@code vpdpbusd}: that multiplies four unsigned bytes
 * with four signed ones, and adds the products to 32 bits.
 *
 * <p>The function, by the System V convention: {@code void f(long w, long blocks, long x, long
 * xRowBytes, long y, long yRowBytes, long units, long chunks)}. It goes through the blocks of 64
 * outputs, in a block through the groups, and in a group through its {@code chunks} of 32 inputs.
 * Sums of a group stay in registers as integers; then they are scaled, and added to y. A row of x
 * has {@code units} of 32 bits (see {@link GroupRows}).
 */
final class VnniCode {
  /** Most rows, whose sums leave registers for weights. */
  static final int MOST_ROWS = 6;

  /** Inputs of a chunk. */
  static final int CHUNK = 32;

  /** Whether memory is asked for weights: see {@link Bfloat16DotCode}. */
  private static final boolean ASKS_AHEAD = CpuFlags.isIntel();

  private static final int VECTORS = 4; // of a block's outputs
  private static final int STEP_BYTES = VECTORS * VECTOR_BYTES;
  private static final int HALF_BYTES = 32; // of a vector of scales
  private static final int STEPS = CHUNK / 4; // four inputs each

  /** Pointers to the rows of x. */
  private static final int[] ROWS = {RDX, R10, R11, RAX, RBX, RBP};

  private static final int WEIGHTS = 24; // the first vector register of weights
  private static final int INPUT = 28; // three
  private static final int LOW_BITS = 31; // ones in the lower half of each byte

  private final MachineCode code = new MachineCode();
  private final int bits;
  private final int rows;

  private VnniCode(int bits, int rows) {
    this.bits = bits;
    this.rows = rows;
  }

  /**
   * The function.
   *
   * @param bits of a weight: 8 or 4
   * @param rows of x
   */
  static byte[] of(int bits, int rows) {
    VnniCode function = new VnniCode(bits, rows);
    function.write();
    return function.code.toByteArray();
  }

  private void write() {
    code.bytes(0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57); // push rbx, rbp, r12-15
    code.bytes(0x4C, 0x8B, 0x74, 0x24, 0x38); // mov r14, [rsp + 56]: units
    code.bytes(0x4C, 0x8B, 0x7C, 0x24, 0x40); // mov r15, [rsp + 64]: chunks
    if (bits == 4) {
      code.bytes(0xB8); // mov eax, ...
      code.number(0x0F0F0F0F);
      code.vector(Operation.BROADCAST_REGISTER, LOW_BITS, 0, RAX);
    }
    for (int row = 1; row < rows; row++) {
      code.addressOfSum(ROWS[row], ROWS[row - 1], RCX);
    }
    int block = code.position();
    clear();
    code.bytes(0x45, 0x31, 0xED); // xor r13d, r13d: the unit
    int group = code.position();
    begin();
    code.bytes(0x4D, 0x89, 0xFC); // mov r12, r15
    int chunk = code.position();
    if (bits == 8) {
      bytes();
    } else {
      halves();
    }
    code.advance(RDI, STEPS * STEP_BYTES * bits / 8);
    code.bytes(0x49, 0x83, 0xC5, STEPS); // add r13, ...
    code.bytes(0x49, 0xFF, 0xCC); // dec r12
    code.bytes(0x0F, 0x85); // jnz
    code.distanceTo(chunk);
    add();
    code.advance(RDI, VECTORS * HALF_BYTES);
    code.bytes(0x49, 0x83, 0xC5, GroupRows.MORE_UNITS); // add r13, ...
    code.bytes(0x4D, 0x39, 0xF5); // cmp r13, r14
    code.bytes(0x0F, 0x8C); // jl
    code.distanceTo(group);
    code.bytes(0x49, 0x81, 0xC0); // add r8, ...
    code.number(STEP_BYTES);
    code.bytes(0x48, 0xFF, 0xCE); // dec rsi
    code.bytes(0x0F, 0x85); // jnz
    code.distanceTo(block);
    code.bytes(0xC5, 0xF8, 0x77); // vzeroupper
    code.bytes(0x41, 0x5F, 0x41, 0x5E, 0x41, 0x5D, 0x41, 0x5C, 0x5D, 0x5B, 0xC3); // pop ...; ret
  }

  /** Makes the block's outputs 0. */
  private void clear() {
    code.vector(Operation.EXCLUSIVE_OR, 0, 0, 0);
    code.bytes(0x4C, 0x89, 0xC1); // mov rcx, r8: a row of y
    for (int row = 0; row < rows; row++) {
      for (int v = 0; v < VECTORS; v++) {
        code.vector(Operation.STORE_FLOATS, 0, 0, RCX, NO_INDEX, v * VECTOR_BYTES);
      }
      code.bytes(0x4C, 0x01, 0xC9); // add rcx, r9
    }
  }

  /** Lets sums begin with what the weights' offset from 0 would add, negative. */
  private void begin() {
    for (int row = 0; row < rows; row++) {
      int sum = row * VECTORS;
      code.vector(Operation.BROADCAST_INT, sum, 0, ROWS[row], R13, 0);
      if (bits == 8) { // 16 times that of 4 bits
        code.vector(Operation.SHIFT_INTS, 6, sum, sum); // vpslld
        code.bytes(4);
      }
      for (int v = 1; v < VECTORS; v++) {
        code.vector(Operation.MOVE, sum + v, 0, sum);
      }
    }
  }

  private void bytes() {
    for (int step = 0; step < STEPS; step++) {
      prefetch(step * STEP_BYTES);
      for (int v = 0; v < VECTORS; v++) {
        int at = step * STEP_BYTES + v * VECTOR_BYTES;
        code.vector(Operation.LOAD_FLOATS, WEIGHTS + v, 0, RDI, NO_INDEX, at);
      }
      multiply(step);
    }
  }

  /** A byte has a weight of one step in its lower half, and one of the next step in its upper. */
  private void halves() {
    for (int step = 0; step < STEPS; step += 2) {
      int first = step / 2 * STEP_BYTES;
      prefetch(first);
      for (int v = 0; v < VECTORS; v++) {
        int at = first + v * VECTOR_BYTES;
        code.vector(Operation.AND, WEIGHTS + v, LOW_BITS, RDI, NO_INDEX, at);
      }
      multiply(step);
      for (int v = 0; v < VECTORS; v++) {
        int at = first + v * VECTOR_BYTES;
        code.vector(Operation.SHIFT_SHORTS, 2, WEIGHTS + v, RDI, NO_INDEX, at); // vpsrlw
        code.bytes(4);
        code.vector(Operation.AND, WEIGHTS + v, WEIGHTS + v, LOW_BITS);
      }
      multiply(step + 1);
    }
  }

  private void prefetch(int offset) {
    for (int v = 0; v < VECTORS && ASKS_AHEAD; v++) {
      code.prefetchWeights(Bfloat16DotCode.AHEAD + offset + v * VECTOR_BYTES);
    }
  }

  private void multiply(int step) {
    for (int row = 0; row < rows; row++) {
      int input = INPUT + row % 3;
      code.vector(Operation.BROADCAST_INT, input, 0, ROWS[row], R13, 4 * (1 + step));
      for (int v = 0; v < VECTORS; v++) {
        code.vector(Operation.DOT_OF_BYTES, row * VECTORS + v, WEIGHTS + v, input);
      }
    }
  }

  /** Adds the group's sums to y, times the scales of weights and of x. */
  private void add() {
    for (int v = 0; v < VECTORS; v++) {
      code.vector(Operation.FLOATS_OF_HALVES, WEIGHTS + v, 0, RDI, NO_INDEX, v * HALF_BYTES);
    }
    code.bytes(0x4C, 0x89, 0xC1); // mov rcx, r8: a row of y
    for (int row = 0; row < rows; row++) {
      code.vector(Operation.BROADCAST_FLOAT, INPUT, 0, ROWS[row], R13, 4);
      for (int v = 0; v < VECTORS; v++) {
        int sum = row * VECTORS + v;
        int factor = INPUT + 1 + v % 2;
        code.vector(Operation.TO_FLOATS, sum, 0, sum);
        code.vector(Operation.MULTIPLY, factor, WEIGHTS + v, INPUT);
        code.vector(Operation.MULTIPLY_ADD, sum, factor, RCX, NO_INDEX, v * VECTOR_BYTES);
        code.vector(Operation.STORE_FLOATS, sum, 0, RCX, NO_INDEX, v * VECTOR_BYTES);
      }
      code.bytes(0x4C, 0x01, 0xC9); // add rcx, r9
    }
  }
}
