package org.eellm.kernel.machine;

import static org.eellm.kernel.machine.MachineCode.NO_INDEX;
import static org.eellm.kernel.machine.MachineCode.R8;
import static org.eellm.kernel.machine.MachineCode.R9;
import static org.eellm.kernel.machine.MachineCode.RCX;
import static org.eellm.kernel.machine.MachineCode.RDI;
import static org.eellm.kernel.machine.MachineCode.RDX;
import static org.eellm.kernel.machine.MachineCode.RSI;
import static org.eellm.kernel.machine.MachineCode.VECTOR_BYTES;
import static org.eellm.kernel.machine.RowWriter.A;
import static org.eellm.kernel.machine.RowWriter.B;
import static org.eellm.kernel.machine.RowWriter.C;
import static org.eellm.kernel.machine.RowWriter.D;
import static org.eellm.kernel.machine.RowWriter.E;
import static org.eellm.kernel.machine.RowWriter.F;
import static org.eellm.kernel.machine.RowWriter.LANES;
import static org.eellm.kernel.machine.RowWriter.MASK;
import static org.eellm.kernel.machine.RowWriter.SUM;

import org.eellm.kernel.machine.MachineCode.Operation;

/** Machine code that stores numbers in 16 and 8 bits, as {@link RowCode} is for norms. */
final class RoundingCode {
  private static final int NOT_LESS = 5; // of vcmpps; or one is NaN

  private RoundingCode() {}

  /** Stores as bfloat16: {@code f(x, x, x, count, offset, to)}, of an array or of memory. */
  static byte[] rounding() {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
    code.add(RDI, R8);
    code.move(RDX, RCX);
    roundingConstants(code);
    row.each(
        () -> {
          row.load(A, RDI);
          round(code);
          code.shiftRight(A, A, 16);
          code.masked(Operation.STORE_HALVES, MASK, A, R9);
          code.advance(RDI, VECTOR_BYTES);
          code.advance(R9, VECTOR_BYTES / 2);
        });
    return row.end();
  }

  /**
   * Stores as bfloat16 in one half of 32 bits, the other half cleared if it is the first, else as
   * it was: {@code f(x, to, count)}.
   */
  static byte[] roundingToHalf(int which) {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
    roundingConstants(code);
    code.constant(E, 0xFFFF0000);
    code.constant(F, 0xFFFF);
    row.each(
        () -> {
          row.load(A, RDI);
          round(code);
          if (which == 0) {
            code.shiftRight(A, A, 16);
          } else {
            row.load(B, RSI);
            code.vector(Operation.AND, A, A, E);
            code.vector(Operation.AND, B, B, F);
            code.vector(Operation.OR, A, A, B);
          }
          row.store(A, RSI);
          row.advance(RDI, RSI);
        });
    return row.end();
  }

  /**
   * Writes each 32 bits into one lane of a vector of their own: {@code f(x, lane, count, to)}, with
   * the lane as a mask.
   */
  static byte[] spreading() {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
    code.bytes(0xC5, 0xF8, 0x92, 0xCE); // kmovw k1, esi
    int start = code.position();
    code.vector(Operation.LOAD_FLOATS, A, 0, RCX, NO_INDEX, 0);
    code.masked(Operation.BROADCAST_INT, MASK, A, RDI);
    code.vector(Operation.STORE_FLOATS, A, 0, RCX, NO_INDEX, 0);
    code.advance(RDI, Integer.BYTES);
    code.advance(RCX, VECTOR_BYTES);
    code.bytes(0x48, 0xFF, 0xCA, 0x0F, 0x85); // dec rdx; jnz
    code.distanceTo(start);
    return row.end();
  }

  /**
   * Rounds a group of numbers to 8 bits: {@code f(x, x, x, count, from, to)}, with an array; {@code
   * from} in bytes; {@code count} a multiple of 16. Writes {@code -offset} times the sum of the
   * rounded numbers in 32 bits, the numbers, and their scale.
   *
   * @param offset of weights, a power of two
   */
  static byte[] quantization(float least, int offset) {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
    code.add(RDI, R8);
    code.constant(C, Integer.MAX_VALUE); // all but the sign
    code.vector(Operation.EXCLUSIVE_OR, A, A, A);
    code.move(RSI, RDI);
    code.move(RDX, RCX);
    int first = code.position();
    code.vector(Operation.AND, B, C, RSI, NO_INDEX, 0);
    code.vector(Operation.LARGER_INT, A, A, B); // NaN is larger than all, as an integer
    row.advance(RSI);
    row.next16(first);
    code.reduce(Operation.LARGER_INT, A, B);
    code.constant(B, Float.floatToRawIntBits(least));
    code.vector(Operation.COMPARE, MASK, A, B);
    code.bytes(NOT_LESS);
    code.constant(B, Float.floatToRawIntBits(Byte.MAX_VALUE));
    code.maskedOrZero(Operation.DIVIDE, MASK, C, B, A); // the inverse of the scale
    code.maskedOrZero(Operation.DIVIDE, MASK, D, A, B); // the scale
    code.vector(Operation.SUBTRACT, A, A, A); // NaN where the largest is infinite
    code.vector(Operation.ADD, D, D, A);
    code.constant(E, 0x4B400000); // 1.5 * 2^23: what is added to it has no fraction
    code.constant(F, -0x4B400000);
    code.vector(Operation.EXCLUSIVE_OR, SUM, SUM, SUM);
    code.move(RSI, R9);
    code.move(RDX, RCX);
    int second = code.position();
    code.vector(Operation.MULTIPLY, A, C, RDI, NO_INDEX, 0);
    code.vector(Operation.ADD, A, A, E);
    code.vector(Operation.ADD_INTS, A, A, F);
    code.vector(Operation.ADD_INTS, SUM, SUM, A);
    code.vector(Operation.STORE_BYTES, A, 0, RSI, NO_INDEX, Integer.BYTES);
    row.advance(RDI);
    code.advance(RSI, LANES);
    row.next16(second);
    code.vector(Operation.MOVE, A, 0, D);
    code.result();
    code.bytes(0x89, 0x46, Integer.BYTES); // mov [rsi + 4], eax: the scale
    code.reduce(Operation.ADD_INTS, SUM, B);
    code.vector(Operation.MOVE, A, 0, SUM);
    code.result();
    code.bytes(0x6B, 0xC0, -offset); // imul eax, eax, -offset
    code.bytes(0x41, 0x89, 0x01); // mov [r9], eax
    return row.end();
  }

  /** Rounds the float32 numbers in A to bfloat16; constants are in C and D. */
  private static void round(MachineCode code) {
    code.shiftRight(B, A, 16);
    code.vector(Operation.AND, B, B, C);
    code.vector(Operation.ADD_INTS, A, A, D);
    code.vector(Operation.ADD_INTS, A, A, B);
  }

  private static void roundingConstants(MachineCode code) {
    code.constant(C, 1);
    code.constant(D, 0x7FFF);
  }
}
