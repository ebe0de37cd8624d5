package org.eellm.kernel.product;

import static org.eellm.kernel.machine.MachineCode.NO_INDEX;
import static org.eellm.kernel.machine.MachineCode.R10;
import static org.eellm.kernel.machine.MachineCode.R11;
import static org.eellm.kernel.machine.MachineCode.R14;
import static org.eellm.kernel.machine.MachineCode.R8;
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
 * The frame of a function that multiplies a few rows with packed weights, for x86-64 processors
 * with AVX-512: it goes through blocks of 64 outputs, whose sums stay in registers.
 *
 * <p>The function, by the System V convention: {@code void f(long w, long blocks, long x, long
 * xRowBytes, long y, long yRowBytes, long blockUnits, long more)}, with units of 32 bits.
 *
 * <p>On Intel's processors, of a few rows it takes several blocks at once, each a stream of weights
 * of its own: these processors ask memory ahead for each stream within a page of 4 KiB, and so have
 * more on its way. On Sapphire Rapids two cores read 17 to 24 GB/s in one stream each, and 24 to 34
 * in four; where code asks ahead besides, from the page that follows, decoding is a tenth to a
 * fifth faster.
 */
abstract sealed class BlockCode permits DotCode, VnniCode {
  /** Most rows, whose sums leave registers for weights. */
  static final int MOST_ROWS = 6;

  /** Most blocks at once. */
  static final int MOST_STREAMS = CpuFlags.isIntel() ? 4 : 1;

  /** How far ahead weights of a stream are asked for, in bytes. */
  private static final int AHEAD = 4096;

  static final int VECTORS = 4; // of a block's outputs
  static final int STEP_BYTES = VECTORS * VECTOR_BYTES;
  static final int WEIGHTS = 24; // the first vector register of weights
  static final int INPUT = 28; // the first of those for x

  /** Pointers to the rows of x. */
  static final int[] ROWS = {RDX, R10, R11, RAX, RBX, RBP};

  /** How far each stream is from the first, in units; of so few rows these registers are free. */
  private static final int[] STREAMS = {NO_INDEX, RBP, RBX, RAX};

  final MachineCode code = new MachineCode();
  final int rows;

  /**
   * A function to be written.
   *
   * @param rows of x, 1 to {@link #MOST_ROWS}
   */
  BlockCode(int rows) {
    this.rows = rows;
  }

  /** Writes what is constant to registers; R14 has the units of a block, and is free then. */
  abstract void begin();

  /**
   * Writes outputs of the next blocks, and moves RDI to the end of the first.
   *
   * @param streams how many blocks
   */
  abstract void blocks(int streams);

  /** The function. */
  final byte[] write() {
    code.bytes(0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57); // push rbx, rbp, r12-15
    code.bytes(0x4C, 0x8B, 0x74, 0x24, 0x38); // mov r14, [rsp + 56]: blockUnits
    code.bytes(0x4C, 0x8B, 0x7C, 0x24, 0x40); // mov r15, [rsp + 64]: more
    int most = Math.min(MOST_STREAMS, MOST_ROWS / rows);
    for (int stream = 1; stream < most; stream++) {
      if (stream == 1) {
        code.move(STREAMS[stream], R14);
      } else {
        code.addressOfSum(STREAMS[stream], STREAMS[1], STREAMS[stream - 1]);
      }
    }
    begin();
    for (int row = 1; row < rows; row++) {
      code.addressOfSum(ROWS[row], ROWS[row - 1], RCX);
    }
    for (int streams = most; streams > 0; streams--) {
      int next = code.position();
      code.bytes(0x48, 0x83, 0xFE, streams); // cmp rsi, ...
      code.bytes(0x0F, 0x8C); // jl
      int end = code.distanceAhead();
      blocks(streams);
      if (streams > 1) {
        code.advanceByUnits(RDI, STREAMS[streams - 1]);
      }
      code.advance(R8, streams * STEP_BYTES);
      code.bytes(0x48, 0x83, 0xEE, streams); // sub rsi, ...
      code.bytes(0xE9); // jmp
      code.distanceTo(next);
      code.land(end);
    }
    code.bytes(0xC5, 0xF8, 0x77); // vzeroupper
    code.bytes(0x41, 0x5F, 0x41, 0x5E, 0x41, 0x5D, 0x41, 0x5C, 0x5D, 0x5B, 0xC3); // pop ...; ret
    return code.toByteArray();
  }

  /** The register of a sum. */
  final int sum(int streams, int row, int stream, int v) {
    return (row * streams + stream) * VECTORS + v;
  }

  /** Asks for what of a stream's weights comes next. */
  final void prefetch(int stream, int offset) {
    for (int v = 0; v < VECTORS; v++) {
      code.prefetch(RDI, STREAMS[stream], AHEAD + offset + v * VECTOR_BYTES);
    }
  }

  /** An instruction whose last operand is of the weights. */
  final void ofWeights(Operation operation, int to, int first, int stream, int offset) {
    code.vector(operation, to, first, RDI, STREAMS[stream], offset);
  }
}
