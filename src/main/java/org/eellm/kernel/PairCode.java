package org.eellm.kernel;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Machine code for products of a few rows with packed bfloat16 weights, for x86-64 processors with
 * {@code vdpbf16ps}: a dozen instructions, written out for a number of rows. Java's compilers do
 * not emit that instruction; and here weights are asked for ahead of their use, which neither the
 * Vector API nor oneDNN's kernels do.
 *
 * <p>The function, by the System V convention: {@code void f(long w, long blocks, long x, long
 * xRowBytes, long y, long yRowBytes, long steps)}. It goes through the blocks of 64 outputs, and in
 * a block through the pairs of inputs, one {@code step} each; 4 vectors of sums a row stay in
 * registers. Intel's manual, volume 2, tells the encoding.
 */
final class PairCode {
  /** Most rows, whose sums leave registers for weights. */
  static final int MOST_ROWS = 6;

  /** How far ahead weights are asked for, in bytes. */
  private static final int AHEAD = 4096;

  /** With fewer rows the processor's own prefetching does better. */
  private static final int LEAST_ROWS_AHEAD = 3;

  private static final int VECTORS = 4; // of a block's outputs
  private static final int VECTOR_BYTES = 64;
  private static final int STEP_BYTES = VECTORS * VECTOR_BYTES;

  // General registers by their numbers.
  private static final int RAX = 0;
  private static final int RCX = 1;
  private static final int RDX = 2;
  private static final int RBX = 3;
  private static final int RBP = 5;
  private static final int RDI = 7;
  private static final int R10 = 10;
  private static final int R11 = 11;
  private static final int R13 = 13;
  private static final int NO_INDEX = -1;

  /** Pointers to the rows of x. */
  private static final int[] ROWS = {RDX, R10, R11, RAX, RBX, RBP};

  private static final int WEIGHTS = 24; // the first vector register of weights
  private static final int INPUT = 28;

  // Opcode maps and prefixes of vector instructions.
  private static final int MAP_0F = 1;
  private static final int MAP_0F38 = 2;
  private static final int NONE = 0;
  private static final int PREFIX_66 = 1;
  private static final int PREFIX_F3 = 2;

  private final ByteArrayOutputStream code = new ByteArrayOutputStream();

  private PairCode() {}

  /** The function for so many rows. */
  static byte[] of(int rows) {
    PairCode writer = new PairCode();
    writer.write(rows);
    return writer.code.toByteArray();
  }

  private void write(int rows) {
    bytes(0x53, 0x55, 0x41, 0x55, 0x41, 0x56); // push rbx, rbp, r13, r14
    bytes(0x4C, 0x8B, 0x74, 0x24, 0x28); // mov r14, [rsp + 40]: steps
    for (int row = 1; row < rows; row++) {
      addressOfSum(ROWS[row], ROWS[row - 1], RCX);
    }
    int block = code.size();
    for (int sum = 0; sum < rows * VECTORS; sum++) {
      register(MAP_0F, PREFIX_66, 0xEF, sum, sum, sum); // vpxord: 0
    }
    bytes(0x45, 0x31, 0xED); // xor r13d, r13d: the step
    int step = code.size();
    for (int v = 0; v < VECTORS && rows >= LEAST_ROWS_AHEAD; v++) {
      bytes(0x0F, 0x18, 0x8F); // prefetcht0 [rdi + ...]
      number(AHEAD + v * VECTOR_BYTES);
    }
    if (rows > 1) {
      for (int v = 0; v < VECTORS; v++) { // vmovups
        memory(MAP_0F, NONE, 0x10, WEIGHTS + v, 0, RDI, NO_INDEX, v * VECTOR_BYTES);
      }
    }
    for (int row = 0; row < rows; row++) {
      int input = INPUT + row % 4;
      memory(MAP_0F38, PREFIX_66, 0x58, input, 0, ROWS[row], R13, 0); // vpbroadcastd
      for (int v = 0; v < VECTORS; v++) { // vdpbf16ps
        int sum = row * VECTORS + v;
        if (rows > 1) {
          register(MAP_0F38, PREFIX_F3, 0x52, sum, WEIGHTS + v, input);
        } else {
          memory(MAP_0F38, PREFIX_F3, 0x52, sum, input, RDI, NO_INDEX, v * VECTOR_BYTES);
        }
      }
    }
    bytes(0x48, 0x81, 0xC7); // add rdi, ...
    number(STEP_BYTES);
    bytes(0x49, 0xFF, 0xC5); // inc r13
    bytes(0x4D, 0x39, 0xF5); // cmp r13, r14
    bytes(0x0F, 0x8C); // jl
    number(step - code.size() - 4);
    bytes(0x4C, 0x89, 0xC1); // mov rcx, r8: a row of y
    for (int row = 0; row < rows; row++) {
      for (int v = 0; v < VECTORS; v++) { // vmovups
        memory(MAP_0F, NONE, 0x11, row * VECTORS + v, 0, RCX, NO_INDEX, v * VECTOR_BYTES);
      }
      bytes(0x4C, 0x01, 0xC9); // add rcx, r9
    }
    bytes(0x49, 0x81, 0xC0); // add r8, ...
    number(STEP_BYTES);
    bytes(0x48, 0xFF, 0xCE); // dec rsi
    bytes(0x0F, 0x85); // jnz
    number(block - code.size() - 4);
    bytes(0xC5, 0xF8, 0x77); // vzeroupper
    bytes(0x41, 0x5E, 0x41, 0x5D, 0x5D, 0x5B, 0xC3); // pop r14, r13, rbp, rbx; ret
  }

  private void bytes(int... values) {
    for (int value : values) {
      code.write(value);
    }
  }

  /** In 4 bytes, the lowest first. */
  private void number(int value) {
    code.writeBytes(
        ByteBuffer.allocate(Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN).putInt(value).array());
  }

  /** {@code lea to, [base + index]}. */
  private void addressOfSum(int to, int base, int index) {
    bytes(
        0x48 | to >> 3 << 2 | index >> 3 << 1 | base >> 3,
        0x8D,
        0x44 | (to & 7) << 3,
        (index & 7) << 3 | base & 7,
        0);
  }

  /** A vector instruction on three registers of 512 bits. */
  private void register(int map, int prefix, int opcode, int to, int first, int second) {
    evex(map, prefix, to, first, second >> 4, second >> 3 & 1);
    bytes(opcode, 0xC0 | (to & 7) << 3 | second & 7);
  }

  /**
   * A vector instruction whose last operand is in memory, at {@code base + 4 index + offset}.
   *
   * @param first the other operand, 0 if there is none
   */
  private void memory(
      int map, int prefix, int opcode, int to, int first, int base, int index, int offset) {
    evex(map, prefix, to, first, index == NO_INDEX ? 0 : index >> 3, base >> 3);
    if (index == NO_INDEX) {
      bytes(opcode, 0x80 | (to & 7) << 3 | base & 7);
    } else {
      bytes(opcode, 0x84 | (to & 7) << 3, 0x80 | (index & 7) << 3 | base & 7);
    }
    number(offset);
  }

  /** The prefix of vector instructions: highest bits of registers are inverted. */
  private void evex(int map, int prefix, int to, int first, int indexHigh, int baseHigh) {
    bytes(
        0x62,
        (~to >> 3 & 1) << 7
            | (~indexHigh & 1) << 6
            | (~baseHigh & 1) << 5
            | (~to >> 4 & 1) << 4
            | map,
        (~first & 15) << 3 | 4 | prefix,
        0x40 | (~first >> 4 & 1) << 3);
  }
}
