package org.eellm.kernel.matmul;

import org.eellm.kernel.assembler.Assembler;
import org.eellm.kernel.assembler.Gp;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.assembler.Memory;
import org.eellm.kernel.assembler.Vector;

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
abstract sealed class BlockCode extends Assembler permits DotCode, VnniCode {
  /** Most rows, whose sums leave registers for weights. */
  static final int MOST_ROWS = 6;

  /** How far ahead weights of a stream are asked for, in bytes. */
  private static final int AHEAD = 4096;

  static final int VECTORS = 4; // of a block's outputs
  static final int VECTOR_BYTES = 64;
  static final int STEP_BYTES = VECTORS * VECTOR_BYTES;
  static final Vector WEIGHTS = zmm(24); // the first of them
  static final Vector INPUT = zmm(28); // the first of those for x

  /** Pointers to the rows of x. */
  static final Gp[] ROWS = {RDX, R10, R11, RAX, RBX, RBP};

  static final Gp STEP = R13;

  /** How far further streams are from the first, in units; of so few rows these are free. */
  private static final Gp[] STREAMS = {RBP, RBX, RAX};

  final int rows;
  final boolean intel;

  /**
   * A function to be written.
   *
   * @param rows of x, 1 to {@link #MOST_ROWS}
   * @param intel whether Intel made the processor
   */
  BlockCode(int rows, boolean intel) {
    this.rows = rows;
    this.intel = intel;
  }

  /** Most blocks at once. */
  static int mostStreams(boolean intel) {
    return intel ? 4 : 1;
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
  final MachineCode write() {
    enter(0);
    mov(R14, parameter(7)); // blockUnits
    mov(R15, parameter(8)); // more
    int most = Math.min(mostStreams(intel), MOST_ROWS / rows);
    for (int stream = 1; stream < most; stream++) {
      if (stream == 1) {
        mov(STREAMS[0], R14);
      } else {
        lea(STREAMS[stream - 1], at(STREAMS[0], STREAMS[stream - 2], 1, 0));
      }
    }
    begin();
    for (int row = 1; row < rows; row++) {
      lea(ROWS[row], at(ROWS[row - 1], RCX, 1, 0));
    }
    for (int streams = most; streams > 0; streams--) {
      Label next = here();
      Label end = new Label();
      cmp(RSI, streams);
      jl(end);
      blocks(streams);
      if (streams > 1) {
        lea(RDI, at(RDI, STREAMS[streams - 2], 4, 0));
      }
      add(R8, streams * STEP_BYTES);
      sub(RSI, streams);
      jmp(next);
      bind(end);
    }
    leaveVectors();
    return finish();
  }

  /** The register of a sum. */
  static Vector sum(int streams, int row, int stream, int v) {
    return zmm((row * streams + stream) * VECTORS + v);
  }

  /** Asks for what of a stream's weights comes next. */
  final void prefetch(int stream, int offset) {
    for (int v = 0; v < VECTORS; v++) {
      prefetcht0(weights(stream, AHEAD + offset + v * VECTOR_BYTES));
    }
  }

  /** Some of a stream's weights. */
  static Memory weights(int stream, int offset) {
    return stream == 0 ? at(RDI, offset) : at(RDI, STREAMS[stream - 1], 4, offset);
  }

  /** The next input of a row, from an offset in bytes on. */
  static Memory input(int row, int offset) {
    return at(ROWS[row], STEP, 4, offset);
  }
}
