package org.eellm.kernel.matmul;

import org.eellm.kernel.assembler.Assembler;
import org.eellm.kernel.assembler.Gp;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.assembler.Memory;
import org.eellm.kernel.assembler.Vector;

/**
 * The frame of a function that multiplies a few rows with packed weights, for x86-64 processors
 * with AVX-512 or AVX2: it goes through blocks of 64 outputs, whose sums stay in registers. AVX2
 * has a quarter of these: there it goes through the outputs of a block in slices, each some vectors
 * of its sums.
 *
 * <p>The function, by the System V convention: {@code void f(long w, long blocks, long x, long
 * xRowBytes, long y, long yRowBytes, long blockUnits, long more)}, with units of 32 bits.
 *
 * <p>On Intel's processors with AVX-512, of a few rows it takes several blocks at once, each a
 * stream of weights of its own: these processors ask memory ahead for each stream within a page of
 * 4 KiB, and so have more on its way. On Sapphire Rapids two cores read 17 to 24 GB/s in one stream
 * each, and 24 to 34 in four; where code asks ahead besides, from the page that follows, decoding
 * is a tenth to a fifth faster.
 */
abstract sealed class BlockCode extends Assembler permits DotCode, GroupCode, HalvesCode {
  /** Most rows, whose sums leave registers for weights. */
  static final int MOST_ROWS = 6;

  /**
   * How far ahead weights of a stream are asked for, in bytes; {@link DotCode} takes as many at a
   * time.
   */
  static final int AHEAD = 4096;

  private static final int LINE_BYTES = 64; // of a cache
  static final int STEP_BYTES = 256; // of a block's outputs in 32 bits

  /** Pointers to the rows of x. */
  static final Gp[] ROWS = {RDX, R10, R11, RAX, RBX, RBP};

  static final Gp STEP = R13;

  /** How far further streams are from the first, in units; of so few rows these are free. */
  private static final Gp[] STREAMS = {RBP, RBX, RAX};

  final int rows;
  final CodeTarget target;

  /** Of sums of a row, in a block or slice of one. */
  final int vectors;

  final int vectorBytes = vectorBytes();

  /** Of a block's outputs: 1 if registers have room for their sums. */
  final int slices;

  /**
   * A function to be written.
   *
   * @param rows of x, 1 to {@link #MOST_ROWS}
   */
  BlockCode(int rows, CodeTarget target) {
    super(target.vectorBits());
    this.rows = rows;
    this.target = target;
    vectors = isAvx512() ? 4 : vectorsOfAvx2(rows);
    slices = STEP_BYTES / (vectors * vectorBytes);
  }

  /** Most blocks at once. */
  static int mostStreams(CodeTarget target) {
    return target.isAvx512() && target.intel() ? 4 : 1;
  }

  int streams() {
    return Math.min(mostStreams(target), MOST_ROWS / rows);
  }

  /** Writes what is constant to registers; R14 has the units of a block, and is free then. */
  abstract void begin();

  /** Writes what comes before the function's end. */
  void end() {}

  /** Writes outputs of the next blocks, and moves RDI to the end of the first. */
  abstract void outputs(int streams);

  final MachineCode write(int stackPlaces) {
    enter(stackPlaces);
    mov(R14, parameter(7)); // blockUnits
    mov(R15, parameter(8)); // more
    int most = streams();
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
      outputs(streams);
      if (streams > 1) {
        lea(RDI, at(RDI, STREAMS[streams - 2], 4, 0));
      }
      add(R8, streams * STEP_BYTES);
      sub(RSI, streams);
      jmp(next);
      bind(end);
    }
    end();
    leaveVectors();
    return finish();
  }

  final void clearOutputs(int streams) {
    clear(vector(0));
    mov(RCX, R8); // a row of y
    for (int row = 0; row < rows; row++) {
      for (int at = 0; at < streams * STEP_BYTES; at += vectorBytes) {
        vmovups(at(RCX, at), vector(0));
      }
      add(RCX, R9);
    }
  }

  final void clear(Vector to) {
    vpxord(to, to, to);
  }

  final Vector sum(int streams, int row, int stream, int v) {
    return vector((row * streams + stream) * vectors + v);
  }

  /** Where the outputs of a slice's vector begin among those of a block, in bytes of 32 bits. */
  final int place(int slice, int v) {
    return (slice * vectors + v) * vectorBytes;
  }

  /** Asks for what comes next of a slice's weights of a stream. */
  final void prefetch(int stream, int slice, int offset) {
    for (int line = place(slice, 0); line < place(slice, vectors); line += LINE_BYTES) {
      prefetcht0(weights(stream, AHEAD + offset + line));
    }
  }

  static Memory weights(int stream, int offset) {
    return stream == 0 ? at(RDI, offset) : at(RDI, STREAMS[stream - 1], 4, offset);
  }

  /** The next input of a row, from an offset in bytes on. */
  static Memory input(int row, int offset) {
    return at(ROWS[row], STEP, 4, offset);
  }
}
