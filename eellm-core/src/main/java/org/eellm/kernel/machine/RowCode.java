package org.eellm.kernel.machine;

import static org.eellm.kernel.machine.ExponentialCode.FREE;
import static org.eellm.kernel.machine.ExponentialCode.HIGHEST;
import static org.eellm.kernel.machine.ExponentialCode.LOWEST;
import static org.eellm.kernel.machine.ExponentialCode.ONE;
import static org.eellm.kernel.machine.ExponentialCode.P;
import static org.eellm.kernel.machine.ExponentialCode.SHIFTED;
import static org.eellm.kernel.machine.ExponentialCode.X;
import static org.eellm.kernel.machine.MachineCode.NO_INDEX;
import static org.eellm.kernel.machine.MachineCode.R10;
import static org.eellm.kernel.machine.MachineCode.R8;
import static org.eellm.kernel.machine.MachineCode.R9;
import static org.eellm.kernel.machine.MachineCode.RCX;
import static org.eellm.kernel.machine.MachineCode.RDI;
import static org.eellm.kernel.machine.MachineCode.RDX;
import static org.eellm.kernel.machine.MachineCode.RSI;
import static org.eellm.kernel.machine.MachineCode.VECTOR_BYTES;

import org.eellm.kernel.machine.MachineCode.Operation;

/**
 * Machine code for what is between the products of a layer, for x86-64 processors with AVX-512: the
 * operations of the Vector API's kernels in the same order. What the JVM compiles is as fast, but
 * only after a second or two of decoding.
 *
 * <p>Functions take addresses, sizes and the bits of float32 numbers. A count need not be a
 * multiple of anything, and is their third parameter; with arrays, the first of the four behind
 * them.
 */
final class RowCode {
  private static final int LANES = VECTOR_BYTES / Float.BYTES;
  private static final int MASK = 1; // of the lanes that count

  // Registers of functions that have no exponentials.
  private static final int A = 0;
  private static final int B = 1;
  private static final int C = 2;
  private static final int D = 3;
  private static final int E = 4;
  private static final int F = 5;

  // Registers that exponentials leave alone.
  private static final int FIRST = 6;
  private static final int SECOND = 7;
  private static final int SUM = 8;
  private static final int ARGUMENT = 9;
  private static final int SIZE = 10;
  private static final int TEMPORARY = 11;

  private static final int EQUAL = 0; // of vcmpps
  private static final int LESS = 1;
  private static final int UNORDERED = 3; // one is NaN
  private static final int NOT_LESS = 5; // or one is NaN

  private final MachineCode code = new MachineCode();

  private RowCode() {}

  private byte[] end() {
    code.end();
    return code.toByteArray();
  }

  /** Runs a body for the next 16 numbers, those in the mask, until all have been. */
  private void each(Runnable body) {
    int start = code.position();
    code.bytes(0x41, 0xBB, LANES, 0, 0, 0); // mov r11d, 16
    code.bytes(0x4C, 0x39, 0xDA); // cmp rdx, r11
    code.bytes(0x4C, 0x0F, 0x4C, 0xDA); // cmovl r11, rdx
    code.bytes(0xB8, 0xFF, 0xFF, 0, 0); // mov eax, 0xFFFF
    code.bytes(0xC4, 0xE2, 0x20, 0xF5, 0xC0); // bzhi eax, eax, r11d
    code.bytes(0xC5, 0xF8, 0x92, 0xC8); // kmovw k1, eax
    body.run();
    code.bytes(0x48, 0x83, 0xEA, LANES); // sub rdx, 16
    code.bytes(0x0F, 0x8F); // jg
    code.distanceTo(start);
  }

  private void load(int to, int base) {
    code.maskedOrZero(Operation.LOAD_FLOATS, MASK, to, base);
  }

  private void store(int from, int base) {
    code.masked(Operation.STORE_FLOATS, MASK, from, base);
  }

  /** The sum of squares: {@code f(x, fours, vectors)}, four vectors each. */
  static byte[] sumOfSquares() {
    RowCode row = new RowCode();
    MachineCode code = row.code;
    int[] sums = {A, B, C, D};
    for (int sum : sums) {
      code.vector(Operation.EXCLUSIVE_OR, sum, sum, sum);
    }
    code.bytes(0x48, 0x85, 0xF6, 0x0F, 0x84); // test rsi, rsi; jz
    int noFours = code.distanceAhead();
    int four = code.position();
    for (int i = 0; i < sums.length; i++) {
      code.vector(Operation.LOAD_FLOATS, E, 0, RDI, NO_INDEX, i * VECTOR_BYTES);
      code.vector(Operation.ADD_PRODUCT, sums[i], E, E);
    }
    code.advance(RDI, sums.length * VECTOR_BYTES);
    code.bytes(0x48, 0xFF, 0xCE, 0x0F, 0x85); // dec rsi; jnz
    code.distanceTo(four);
    code.land(noFours);
    code.bytes(0x48, 0x85, 0xD2, 0x0F, 0x84); // test rdx, rdx; jz
    int noVectors = code.distanceAhead();
    int one = code.position();
    code.vector(Operation.LOAD_FLOATS, E, 0, RDI, NO_INDEX, 0);
    code.vector(Operation.ADD_PRODUCT, A, E, E);
    code.advance(RDI, VECTOR_BYTES);
    code.bytes(0x48, 0xFF, 0xCA, 0x0F, 0x85); // dec rdx; jnz
    code.distanceTo(one);
    code.land(noVectors);
    code.vector(Operation.ADD, A, A, B);
    code.vector(Operation.ADD, C, C, D);
    code.vector(Operation.ADD, A, A, C);
    code.reduce(Operation.ADD, A, E);
    code.result();
    return row.end();
  }

  /** {@code x factor weight}: {@code f(weight, out, out, count, x, factor)}, with arrays. */
  static byte[] weighted() {
    RowCode row = new RowCode();
    MachineCode code = row.code;
    code.broadcast(B, R9);
    code.move(RDX, RCX);
    row.each(
        () -> {
          row.load(A, R8);
          row.load(C, RDI);
          code.vector(Operation.MULTIPLY, A, A, B);
          code.vector(Operation.MULTIPLY, A, A, C);
          row.store(A, RSI);
          row.advance(R8, RDI, RSI);
        });
    return row.end();
  }

  /** The sum: {@code f(x, vectors)}. */
  static byte[] sum() {
    RowCode row = new RowCode();
    MachineCode code = row.code;
    code.vector(Operation.EXCLUSIVE_OR, A, A, A);
    int start = code.position();
    code.vector(Operation.ADD, A, A, RDI, NO_INDEX, 0);
    row.nextVector(start);
    code.reduce(Operation.ADD, A, B);
    code.result();
    return row.end();
  }

  /** The sum of squared distances from a mean: {@code f(x, vectors, mean)}. */
  static byte[] sumOfSquaredDistances() {
    RowCode row = new RowCode();
    MachineCode code = row.code;
    code.vector(Operation.EXCLUSIVE_OR, A, A, A);
    code.broadcast(C, RDX);
    int start = code.position();
    code.vector(Operation.LOAD_FLOATS, B, 0, RDI, NO_INDEX, 0);
    code.vector(Operation.SUBTRACT, B, B, C);
    code.vector(Operation.ADD_PRODUCT, A, B, B);
    row.nextVector(start);
    code.reduce(Operation.ADD, A, B);
    code.result();
    return row.end();
  }

  /**
   * {@code (x - mean) factor weight + bias}: {@code f(weight, bias, out, count, x, mean, factor)},
   * with arrays.
   */
  static byte[] shifted() {
    RowCode row = new RowCode();
    MachineCode code = row.code;
    code.bytes(0x4C, 0x8B, 0x54, 0x24, 0x08); // mov r10, [rsp + 8]: factor
    code.broadcast(C, R9);
    code.broadcast(D, R10);
    code.move(R10, RDX);
    code.move(RDX, RCX);
    row.each(
        () -> {
          row.load(A, R8);
          row.load(B, RDI);
          row.load(E, RSI);
          code.vector(Operation.SUBTRACT, A, A, C);
          code.vector(Operation.MULTIPLY, A, A, D);
          code.vector(Operation.MULTIPLY_ADD, A, B, E);
          row.store(A, R10);
          row.advance(R8, RDI, RSI, R10);
        });
    return row.end();
  }

  /** Adds numbers of an array to others: {@code f(x, x, x, count, from, to)}; from in bytes. */
  static byte[] additionOfArray() {
    RowCode row = new RowCode();
    row.code.add(RDI, R8);
    row.code.move(RDX, RCX);
    row.each(
        () -> {
          row.load(A, RDI);
          row.load(B, R9);
          row.code.vector(Operation.ADD, A, B, A);
          row.store(A, R9);
          row.advance(RDI, R9);
        });
    return row.end();
  }

  /** {@code x / 2 (1 + erf(x / sqrt(2)))}: {@code f(out, out, out, count, x)}, with an array. */
  static byte[] gelu() {
    RowCode row = new RowCode();
    MachineCode code = row.code;
    ExponentialCode exponential = new ExponentialCode(code);
    exponential.constants();
    code.move(RDX, RCX);
    row.each(
        () -> {
          row.load(FIRST, R8);
          row.multiplyBy(ARGUMENT, FIRST, 0.70710678f);
          code.constant(TEMPORARY, Integer.MAX_VALUE);
          code.vector(Operation.AND, SIZE, ARGUMENT, TEMPORARY);
          row.multiplyBy(SECOND, SIZE, 0.3275911f);
          code.vector(Operation.ADD, SECOND, SECOND, ONE);
          code.vector(Operation.DIVIDE, SECOND, ONE, SECOND);
          row.constant(SUM, 1.061405429f);
          for (float next :
              new float[] {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) {
            row.constant(TEMPORARY, next);
            code.vector(Operation.MULTIPLY_ADD, SUM, SECOND, TEMPORARY);
          }
          code.vector(Operation.MULTIPLY, SUM, SUM, SECOND);
          code.vector(Operation.MULTIPLY, X, SIZE, SIZE);
          row.negate(X);
          code.vector(Operation.LARGER, X, LOWEST, X); // NaN stays
          exponential.write();
          code.vector(Operation.MULTIPLY, P, P, SHIFTED);
          code.vector(Operation.MULTIPLY, SUM, SUM, P);
          code.vector(Operation.SUBTRACT, SUM, ONE, SUM);
          code.constant(TEMPORARY, 0);
          code.vector(Operation.COMPARE, 2, ARGUMENT, TEMPORARY);
          code.bytes(LESS);
          code.constant(TEMPORARY, Integer.MIN_VALUE); // the sign
          code.masked(Operation.EXCLUSIVE_OR, 2, SUM, SUM, TEMPORARY);
          code.vector(Operation.ADD, SUM, SUM, ONE);
          row.multiplyBy(FIRST, FIRST, 0.5f);
          code.vector(Operation.MULTIPLY, FIRST, FIRST, SUM);
          row.store(FIRST, RDI);
          row.advance(R8, RDI);
        });
    return row.end();
  }

  /**
   * {@code x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))}: {@code f(out, out, out, count, x)},
   * with an array.
   */
  static byte[] geluTanh() {
    RowCode row = new RowCode();
    MachineCode code = row.code;
    ExponentialCode exponential = new ExponentialCode(code);
    exponential.constants();
    code.move(RDX, RCX);
    row.each(
        () -> {
          row.load(FIRST, R8);
          code.vector(Operation.MULTIPLY, X, FIRST, FIRST);
          code.vector(Operation.MULTIPLY, X, X, FIRST);
          row.multiplyBy(X, X, 0.044715f);
          code.vector(Operation.ADD, X, X, FIRST);
          row.multiplyBy(X, X, 2 * 0.79788456f);
          row.negate(X);
          row.sigmoidOfNegative(exponential);
          code.vector(Operation.MULTIPLY, P, FIRST, P);
          row.store(P, RDI);
          row.advance(R8, RDI);
        });
    return row.end();
  }

  /** Makes P one over one and the exponential of X, within bounds. */
  private void sigmoidOfNegative(ExponentialCode exponential) {
    code.vector(Operation.LARGER, X, LOWEST, X); // NaN stays
    code.vector(Operation.SMALLER, X, HIGHEST, X);
    exponential.write();
    code.vector(Operation.MULTIPLY, P, P, SHIFTED);
    code.vector(Operation.ADD, P, P, ONE);
    code.vector(Operation.DIVIDE, P, ONE, P);
  }

  private void constant(int to, float number) {
    code.constant(to, Float.floatToRawIntBits(number));
  }

  private void multiplyBy(int to, int from, float factor) {
    constant(TEMPORARY, factor);
    code.vector(Operation.MULTIPLY, to, from, TEMPORARY);
  }

  private void negate(int register) {
    code.constant(TEMPORARY, Integer.MIN_VALUE); // the sign
    code.vector(Operation.EXCLUSIVE_OR, register, register, TEMPORARY);
  }

  private void advance(int... registers) {
    for (int register : registers) {
      code.advance(register, VECTOR_BYTES);
    }
  }

  /** Adds numbers to others: {@code f(x, to, count)}. */
  static byte[] addition() {
    RowCode row = new RowCode();
    row.each(
        () -> {
          row.load(A, RDI);
          row.load(B, RSI);
          row.code.vector(Operation.ADD, A, B, A);
          row.store(A, RSI);
          row.advance(RDI, RSI);
        });
    return row.end();
  }

  /**
   * Turns pairs: {@code f(x, cosines, sines, count, first, second, from)}, with arrays; {@code
   * first}, {@code second} and {@code from} in bytes.
   */
  static byte[] rotation() {
    RowCode row = new RowCode();
    MachineCode code = row.code;
    code.bytes(0x4C, 0x8B, 0x54, 0x24, 0x08); // mov r10, [rsp + 8]: from
    code.add(RSI, R10);
    code.add(R10, RDX);
    code.move(RDX, RCX);
    code.add(R8, RDI);
    code.add(R9, RDI);
    row.each(
        () -> {
          row.load(A, R8);
          row.load(B, R9);
          row.load(C, RSI);
          row.load(D, R10);
          code.vector(Operation.MULTIPLY, E, A, C);
          code.vector(Operation.MULTIPLY, F, B, D);
          code.vector(Operation.SUBTRACT, E, E, F);
          row.store(E, R8);
          code.vector(Operation.MULTIPLY, E, B, C);
          code.vector(Operation.MULTIPLY, F, A, D);
          code.vector(Operation.ADD, E, E, F);
          row.store(E, R9);
          row.advance(R8, R9, RSI, R10);
        });
    return row.end();
  }

  /** Rounds the float32 numbers in A to bfloat16; constants are in C, D and E. */
  private void round() {
    code.shiftRight(B, A, 16);
    code.vector(Operation.AND, B, B, C);
    code.vector(Operation.ADD_INTS, A, A, D);
    code.vector(Operation.ADD_INTS, A, A, B);
  }

  private void roundingConstants() {
    code.constant(C, 1);
    code.constant(D, 0x7FFF);
  }

  /** Stores as bfloat16: {@code f(x, x, x, count, offset, to)}, with an array. */
  static byte[] rounding() {
    RowCode row = new RowCode();
    MachineCode code = row.code;
    code.add(RDI, R8);
    code.move(RDX, RCX);
    row.roundingConstants();
    row.each(
        () -> {
          row.load(A, RDI);
          row.round();
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
    RowCode row = new RowCode();
    MachineCode code = row.code;
    row.roundingConstants();
    code.constant(E, 0xFFFF0000);
    code.constant(F, 0xFFFF);
    row.each(
        () -> {
          row.load(A, RDI);
          row.round();
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
    RowCode row = new RowCode();
    MachineCode code = row.code;
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

  /** {@code silu(gate) up}: {@code f(out, out, out, count, gate, up)}, with an array. */
  static byte[] swiGlu() {
    RowCode row = new RowCode();
    MachineCode code = row.code;
    ExponentialCode exponential = new ExponentialCode(code);
    exponential.constants();
    code.move(RDX, RCX);
    row.each(
        () -> {
          row.load(FIRST, R8);
          row.load(SECOND, R9);
          code.vector(Operation.MOVE, X, 0, FIRST);
          row.negate(X);
          row.sigmoidOfNegative(exponential);
          code.vector(Operation.MULTIPLY, P, FIRST, P);
          code.vector(Operation.MULTIPLY, P, P, SECOND);
          row.store(P, RDI);
          row.advance(R8, R9, RDI);
        });
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
    RowCode row = new RowCode();
    MachineCode code = row.code;
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

  private void next16(int start) {
    code.bytes(0x48, 0x83, 0xEA, LANES, 0x0F, 0x8F); // sub rdx, 16; jg
    code.distanceTo(start);
  }

  /** The largest number, NaN if there is one: {@code f(x, vectors)}. */
  static byte[] largest() {
    RowCode row = new RowCode();
    MachineCode code = row.code;
    code.constant(A, Float.floatToRawIntBits(Float.NEGATIVE_INFINITY));
    code.bytes(0xC5, 0xEC, 0x47, 0xD2); // kxorw k2, k2, k2
    int start = code.position();
    code.vector(Operation.LOAD_FLOATS, B, 0, RDI, NO_INDEX, 0);
    code.vector(Operation.COMPARE, MASK, B, B);
    code.bytes(UNORDERED);
    code.bytes(0xC5, 0xEC, 0x45, 0xD1); // korw k2, k2, k1
    code.vector(Operation.LARGER, A, A, B);
    row.nextVector(start);
    code.reduce(Operation.LARGER, A, B);
    code.bytes(0xC5, 0xF8, 0x93, 0xC2); // kmovw eax, k2
    code.bytes(0x85, 0xC0, 0x0F, 0x84); // test eax, eax; jz
    int allNumbers = code.distanceAhead();
    code.constant(A, Float.floatToRawIntBits(Float.NaN));
    code.land(allNumbers);
    code.result();
    return row.end();
  }

  private void nextVector(int start) {
    code.advance(RDI, VECTOR_BYTES);
    code.bytes(0x48, 0xFF, 0xCE, 0x0F, 0x85); // dec rsi; jnz
    code.distanceTo(start);
  }

  /** The first place of a number, or -1: {@code f(x, vectors, number)}. */
  static byte[] place() {
    RowCode row = new RowCode();
    MachineCode code = row.code;
    code.broadcast(A, RDX);
    code.bytes(0x31, 0xD2); // xor edx, edx: the place
    int start = code.position();
    code.vector(Operation.COMPARE, MASK, A, RDI, NO_INDEX, 0);
    code.bytes(EQUAL);
    code.bytes(0xC5, 0xF8, 0x93, 0xC9); // kmovw ecx, k1
    code.bytes(0x85, 0xC9, 0x0F, 0x85); // test ecx, ecx; jnz
    int found = code.distanceAhead();
    code.bytes(0x48, 0x83, 0xC2, LANES); // add rdx, 16
    row.nextVector(start);
    code.bytes(0x48, 0xC7, 0xC0, 0xFF, 0xFF, 0xFF, 0xFF); // mov rax, -1
    code.end();
    code.land(found);
    code.bytes(0x0F, 0xBC, 0xC1); // bsf eax, ecx
    code.bytes(0x48, 0x01, 0xD0); // add rax, rdx
    return row.end();
  }

  /** The sum of {@code exp((x - max) factor)}: {@code f(x, vectors, max, factor)}. */
  static byte[] sumOfExponentials() {
    RowCode row = new RowCode();
    MachineCode code = row.code;
    ExponentialCode exponential = new ExponentialCode(code);
    exponential.constants();
    code.broadcast(FIRST, RDX);
    code.broadcast(SECOND, RCX);
    code.vector(Operation.EXCLUSIVE_OR, SUM, SUM, SUM);
    int start = code.position();
    code.vector(Operation.LOAD_FLOATS, X, 0, RDI, NO_INDEX, 0);
    code.vector(Operation.SUBTRACT, X, X, FIRST);
    code.vector(Operation.MULTIPLY, X, X, SECOND);
    code.vector(Operation.LARGER, X, LOWEST, X); // NaN stays
    exponential.write();
    code.vector(Operation.MULTIPLY, P, P, SHIFTED);
    code.vector(Operation.ADD, SUM, SUM, P);
    row.nextVector(start);
    code.reduce(Operation.ADD, SUM, FREE);
    code.vector(Operation.MOVE, 0, 0, SUM);
    code.result();
    return row.end();
  }
}
