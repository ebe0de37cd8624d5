package org.eellm.kernel.matmul;

import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.assembler.Vector;

/**
 * Machine code for products of a few rows with weights of 8 or 4 bits that have a scale for each
 * group of inputs, for x86-64 processors with {@code vpdpbusd}: that multiplies four unsigned bytes
 * with four signed ones, and adds the products to 32 bits.
 *
 * <p>{@code more} is how many chunks of 32 inputs a group has. Sums of a group stay in registers as
 * integers; then they are scaled, and added to y. Rows of x are as {@link QuantizedInput} has them.
 */
final class VnniCode extends BlockCode {
  /** Inputs of a chunk. */
  static final int CHUNK = 32;

  private static final int HALF_BYTES = 32; // of a vector of scales
  private static final int STEPS = CHUNK / 4; // four inputs each
  private static final Vector LOW_BITS = zmm(31); // ones in the lower half of each byte

  private final int bits;

  private VnniCode(int bits, int rows, boolean intel) {
    super(rows, intel);
    this.bits = bits;
  }

  /**
   * The function.
   *
   * @param bits of a weight: 8 or 4
   * @param rows of x
   * @param intel whether Intel made the processor
   */
  static MachineCode of(int bits, int rows, boolean intel) {
    return new VnniCode(bits, rows, intel).write();
  }

  @Override
  void begin() {
    if (bits == 4) {
      mov(R14D, 0x0F0F0F0F);
      vpbroadcastd(LOW_BITS, R14D);
    }
    mov(R14, RCX);
    shr(R14, 2); // units of a row
  }

  @Override
  void blocks(int streams) {
    clear(streams);
    xor(R13D, R13D); // the unit
    Label group = here();
    beginSums(streams);
    mov(R12, R15);
    Label chunk = here();
    if (bits == 8) {
      bytes(streams);
    } else {
      halves(streams);
    }
    add(RDI, STEPS * STEP_BYTES * bits / 8);
    add(STEP, STEPS);
    dec(R12);
    jne(chunk);
    add(streams);
    add(RDI, VECTORS * HALF_BYTES);
    add(STEP, QuantizedInput.MORE_UNITS);
    cmp(STEP, R14);
    jl(group);
  }

  /** Makes the blocks' outputs 0. */
  private void clear(int streams) {
    vpxord(zmm(0), zmm(0), zmm(0));
    mov(RCX, R8); // a row of y
    for (int row = 0; row < rows; row++) {
      for (int v = 0; v < streams * VECTORS; v++) {
        vmovups(at(RCX, v * VECTOR_BYTES), zmm(0));
      }
      add(RCX, R9);
    }
  }

  /** Lets sums begin with what the weights' offset from 0 would add, negative. */
  private void beginSums(int streams) {
    for (int row = 0; row < rows; row++) {
      Vector sum = sum(streams, row, 0, 0);
      vpbroadcastd(sum, input(row, 0));
      if (bits == 8) { // 16 times that of 4 bits
        vpslld(sum, sum, 4);
      }
      for (int v = 1; v < streams * VECTORS; v++) {
        vmovaps(sum.plus(v), sum);
      }
    }
  }

  private void bytes(int streams) {
    for (int step = 0; step < STEPS; step++) {
      for (int stream = 0; stream < streams; stream++) {
        if (intel) {
          prefetch(stream, step * STEP_BYTES);
        }
        for (int v = 0; v < VECTORS; v++) {
          int at = step * STEP_BYTES + v * VECTOR_BYTES;
          vmovups(WEIGHTS.plus(v), weights(stream, at));
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
        if (intel) {
          prefetch(stream, first);
        }
        for (int v = 0; v < VECTORS; v++) {
          int at = first + v * VECTOR_BYTES;
          vpandd(WEIGHTS.plus(v), LOW_BITS, weights(stream, at));
        }
        multiply(streams, stream, step);
      }
      for (int stream = 0; stream < streams; stream++) {
        for (int v = 0; v < VECTORS; v++) {
          int at = first + v * VECTOR_BYTES;
          vpsrlw(WEIGHTS.plus(v), weights(stream, at), 4);
          vpandd(WEIGHTS.plus(v), WEIGHTS.plus(v), LOW_BITS);
        }
        multiply(streams, stream, step + 1);
      }
    }
  }

  private void multiply(int streams, int stream, int step) {
    for (int row = 0; row < rows; row++) {
      Vector input = INPUT.plus(row % 3); // of several streams there are so few rows
      if (stream == 0) {
        vpbroadcastd(input, input(row, 4 * (1 + step)));
      }
      for (int v = 0; v < VECTORS; v++) {
        vpdpbusd(sum(streams, row, stream, v), WEIGHTS.plus(v), input);
      }
    }
  }

  /** Adds the group's sums to y, times the scales of weights and of x. */
  private void add(int streams) {
    for (int stream = 0; stream < streams; stream++) {
      for (int v = 0; v < VECTORS; v++) {
        vcvtph2ps(WEIGHTS.plus(v), weights(stream, v * HALF_BYTES));
      }
      mov(RCX, R8); // a row of y
      for (int row = 0; row < rows; row++) {
        vbroadcastss(INPUT, input(row, 4));
        for (int v = 0; v < VECTORS; v++) {
          Vector sum = sum(streams, row, stream, v);
          Vector factor = INPUT.plus(1 + v % 2);
          int at = stream * STEP_BYTES + v * VECTOR_BYTES;
          vcvtdq2ps(sum, sum);
          vmulps(factor, WEIGHTS.plus(v), INPUT);
          vfmadd213ps(sum, factor, at(RCX, at));
          vmovups(at(RCX, at), sum);
        }
        add(RCX, R9);
      }
    }
  }
}
