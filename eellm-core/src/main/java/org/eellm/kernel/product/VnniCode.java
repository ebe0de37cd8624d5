package org.eellm.kernel.product;

import static org.eellm.kernel.machine.MachineCode.NO_INDEX;
import static org.eellm.kernel.machine.MachineCode.R13;
import static org.eellm.kernel.machine.MachineCode.R14;
import static org.eellm.kernel.machine.MachineCode.RCX;
import static org.eellm.kernel.machine.MachineCode.RDI;
import static org.eellm.kernel.machine.MachineCode.VECTOR_BYTES;

import org.eellm.kernel.machine.CpuFlags;
import org.eellm.kernel.machine.MachineCode.Operation;

/**
 * Machine code for products of a few rows with weights of 8 or 4 bits that have a scale for each
 * group of inputs, for x86-64 processors with {@code vpdpbusd}: that multiplies four unsigned bytes
 * with four signed ones, and adds the products to 32 bits.
 *
 * <p>{@code more} is how many chunks of 32 inputs a group has. Sums of a group stay in registers as
 * integers; then they are scaled, and added to y. Rows of x are as {@link GroupRows} has them.
 */
final class VnniCode extends BlockCode {
  /** Inputs of a chunk. */
  static final int CHUNK = 32;

  /** Whether memory is asked for weights ahead. */
  private static final boolean ASKS_AHEAD = CpuFlags.isIntel();

  private static final int HALF_BYTES = 32; // of a vector of scales
  private static final int STEPS = CHUNK / 4; // four inputs each
  private static final int LOW_BITS = 31; // ones in the lower half of each byte

  private final int bits;

  private VnniCode(int bits, int rows) {
    super(rows);
    this.bits = bits;
  }

  /**
   * The function.
   *
   * @param bits of a weight: 8 or 4
   * @param rows of x
   */
  static byte[] of(int bits, int rows) {
    return new VnniCode(bits, rows).write();
  }

  @Override
  void begin() {
    if (bits == 4) {
      code.bytes(0x41, 0xBE); // mov r14d, ...
      code.number(0x0F0F0F0F);
      code.vector(Operation.BROADCAST_REGISTER, LOW_BITS, 0, R14);
    }
    code.move(R14, RCX);
    code.bytes(0x49, 0xC1, 0xEE, 2); // shr r14, 2: units of a row
  }

  @Override
  void blocks(int streams) {
    clear(streams);
    code.bytes(0x45, 0x31, 0xED); // xor r13d, r13d: the unit
    int group = code.position();
    beginSums(streams);
    code.bytes(0x4D, 0x89, 0xFC); // mov r12, r15
    int chunk = code.position();
    if (bits == 8) {
      bytes(streams);
    } else {
      halves(streams);
    }
    code.advance(RDI, STEPS * STEP_BYTES * bits / 8);
    code.bytes(0x49, 0x83, 0xC5, STEPS); // add r13, ...
    code.bytes(0x49, 0xFF, 0xCC); // dec r12
    code.bytes(0x0F, 0x85); // jnz
    code.distanceTo(chunk);
    add(streams);
    code.advance(RDI, VECTORS * HALF_BYTES);
    code.bytes(0x49, 0x83, 0xC5, GroupRows.MORE_UNITS); // add r13, ...
    code.bytes(0x4D, 0x39, 0xF5); // cmp r13, r14
    code.bytes(0x0F, 0x8C); // jl
    code.distanceTo(group);
  }

  /** Makes the blocks' outputs 0. */
  private void clear(int streams) {
    code.vector(Operation.EXCLUSIVE_OR, 0, 0, 0);
    code.bytes(0x4C, 0x89, 0xC1); // mov rcx, r8: a row of y
    for (int row = 0; row < rows; row++) {
      for (int v = 0; v < streams * VECTORS; v++) {
        code.vector(Operation.STORE_FLOATS, 0, 0, RCX, NO_INDEX, v * VECTOR_BYTES);
      }
      code.bytes(0x4C, 0x01, 0xC9); // add rcx, r9
    }
  }

  /** Lets sums begin with what the weights' offset from 0 would add, negative. */
  private void beginSums(int streams) {
    for (int row = 0; row < rows; row++) {
      int sum = sum(streams, row, 0, 0);
      code.vector(Operation.BROADCAST_INT, sum, 0, ROWS[row], R13, 0);
      if (bits == 8) { // 16 times that of 4 bits
        code.vector(Operation.SHIFT_INTS, 6, sum, sum); // vpslld
        code.bytes(4);
      }
      for (int v = 1; v < streams * VECTORS; v++) {
        code.vector(Operation.MOVE, sum + v, 0, sum);
      }
    }
  }

  private void bytes(int streams) {
    for (int step = 0; step < STEPS; step++) {
      for (int stream = 0; stream < streams; stream++) {
        if (ASKS_AHEAD) {
          prefetch(stream, step * STEP_BYTES);
        }
        for (int v = 0; v < VECTORS; v++) {
          int at = step * STEP_BYTES + v * VECTOR_BYTES;
          ofWeights(Operation.LOAD_FLOATS, WEIGHTS + v, 0, stream, at);
        }
        multiply(streams, stream, step);
      }
    }
  }

  /** A byte has a weight of one step in its lower half, and one of the next step in its upper. */
  private void halves(int streams) {
    for (int step = 0; step < STEPS; step += 2) {
      int first = step / 2 * STEP_BYTES;
      for (int stream = 0; stream < streams; stream++) {
        if (ASKS_AHEAD) {
          prefetch(stream, first);
        }
        for (int v = 0; v < VECTORS; v++) {
          int at = first + v * VECTOR_BYTES;
          ofWeights(Operation.AND, WEIGHTS + v, LOW_BITS, stream, at);
        }
        multiply(streams, stream, step);
      }
      for (int stream = 0; stream < streams; stream++) {
        for (int v = 0; v < VECTORS; v++) {
          int at = first + v * VECTOR_BYTES;
          ofWeights(Operation.SHIFT_SHORTS, 2, WEIGHTS + v, stream, at); // vpsrlw
          code.bytes(4);
          code.vector(Operation.AND, WEIGHTS + v, WEIGHTS + v, LOW_BITS);
        }
        multiply(streams, stream, step + 1);
      }
    }
  }

  private void multiply(int streams, int stream, int step) {
    for (int row = 0; row < rows; row++) {
      int input = INPUT + row % 3; // of several streams there are so few rows
      if (stream == 0) {
        code.vector(Operation.BROADCAST_INT, input, 0, ROWS[row], R13, 4 * (1 + step));
      }
      for (int v = 0; v < VECTORS; v++) {
        code.vector(Operation.DOT_OF_BYTES, sum(streams, row, stream, v), WEIGHTS + v, input);
      }
    }
  }

  /** Adds the group's sums to y, times the scales of weights and of x. */
  private void add(int streams) {
    for (int stream = 0; stream < streams; stream++) {
      for (int v = 0; v < VECTORS; v++) {
        ofWeights(Operation.FLOATS_OF_HALVES, WEIGHTS + v, 0, stream, v * HALF_BYTES);
      }
      code.bytes(0x4C, 0x89, 0xC1); // mov rcx, r8: a row of y
      for (int row = 0; row < rows; row++) {
        code.vector(Operation.BROADCAST_FLOAT, INPUT, 0, ROWS[row], R13, 4);
        for (int v = 0; v < VECTORS; v++) {
          int sum = sum(streams, row, stream, v);
          int factor = INPUT + 1 + v % 2;
          int at = stream * STEP_BYTES + v * VECTOR_BYTES;
          code.vector(Operation.TO_FLOATS, sum, 0, sum);
          code.vector(Operation.MULTIPLY, factor, WEIGHTS + v, INPUT);
          code.vector(Operation.MULTIPLY_ADD, sum, factor, RCX, NO_INDEX, at);
          code.vector(Operation.STORE_FLOATS, sum, 0, RCX, NO_INDEX, at);
        }
        code.bytes(0x4C, 0x01, 0xC9); // add rcx, r9
      }
    }
  }
}
