package org.eellm.kernel.machine;

import static org.eellm.kernel.machine.MachineCode.NO_INDEX;
import static org.eellm.kernel.machine.MachineCode.R10;
import static org.eellm.kernel.machine.MachineCode.R11;
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

import org.eellm.kernel.machine.MachineCode.Operation;

/**
 * Machine code for norms, sums and rotations, for x86-64 processors with AVX-512: the operations of
 * the Vector API's kernels in the same order. What the JVM compiles is as fast, but only after a
 * second or two of decoding.
 */
final class RowCode {
  private RowCode() {}

  /**
   * {@code x / sqrt(mean(x^2) + epsilon) weight}: {@code f(weight, out, out, count, x, epsilon,
   * countAsFloat)}, with arrays; epsilon as float64, count a multiple of 16.
   */
  static byte[] rms() {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
    code.move(R10, RDI);
    code.move(R11, RSI);
    code.move(RDI, R8);
    sumOfProducts(code, true);
    code.bytes(0xC5, 0xFA, 0x5E, 0x44, 0x24, 0x08); // vdivss xmm0, xmm0, [rsp + 8]: the count
    code.bytes(0xC5, 0xFA, 0x5A, 0xC0); // vcvtss2sd xmm0, xmm0, xmm0
    code.bytes(0xC4, 0xC1, 0xF9, 0x6E, 0xC9); // vmovq xmm1, r9
    code.bytes(0xC5, 0xFB, 0x58, 0xC1); // vaddsd xmm0, xmm0, xmm1
    code.bytes(0xC5, 0xFB, 0x51, 0xC0); // vsqrtsd xmm0, xmm0, xmm0
    code.bytes(0x48, 0xB8); // mov rax, 1 as float64
    code.number(0);
    code.number(0x3FF00000);
    code.bytes(0xC4, 0xE1, 0xF9, 0x6E, 0xC8); // vmovq xmm1, rax
    code.bytes(0xC5, 0xF3, 0x5E, 0xC0); // vdivsd xmm0, xmm1, xmm0
    code.bytes(0xC5, 0xFB, 0x5A, 0xC0); // vcvtsd2ss xmm0, xmm0, xmm0
    code.vector(Operation.BROADCAST_FLOAT, B, 0, A);
    code.move(RDI, R10);
    code.move(RSI, R11);
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

  /**
   * Sums products of numbers from rdi on with those from r8 on, or their squares, to all of A; rcx
   * counts them, a multiple of 16.
   */
  private static void sumOfProducts(MachineCode code, boolean squares) {
    ControlCode control = new ControlCode(code);
    code.move(RSI, RCX); // counts four vectors each
    control.shiftRight(RSI, Integer.numberOfTrailingZeros(4 * LANES));
    code.move(RDX, RCX);
    control.shiftRight(RDX, Integer.numberOfTrailingZeros(LANES));
    code.bytes(0x48, 0x83, 0xE2, 3); // and rdx, 3: the others
    int[] sums = {A, B, C, D};
    for (int sum : sums) {
      code.vector(Operation.EXCLUSIVE_OR, sum, sum, sum);
    }
    code.bytes(0x48, 0x85, 0xF6, 0x0F, 0x84); // test rsi, rsi; jz
    int noFours = code.distanceAhead();
    int four = code.position();
    for (int i = 0; i < sums.length; i++) {
      code.vector(Operation.LOAD_FLOATS, E, 0, RDI, NO_INDEX, i * VECTOR_BYTES);
      addProduct(code, sums[i], i * VECTOR_BYTES, squares);
    }
    goOn(code, sums.length * VECTOR_BYTES, squares);
    code.bytes(0x48, 0xFF, 0xCE, 0x0F, 0x85); // dec rsi; jnz
    code.distanceTo(four);
    code.land(noFours);
    code.bytes(0x48, 0x85, 0xD2, 0x0F, 0x84); // test rdx, rdx; jz
    int noVectors = code.distanceAhead();
    int one = code.position();
    code.vector(Operation.LOAD_FLOATS, E, 0, RDI, NO_INDEX, 0);
    addProduct(code, A, 0, squares);
    goOn(code, VECTOR_BYTES, squares);
    code.bytes(0x48, 0xFF, 0xCA, 0x0F, 0x85); // dec rdx; jnz
    code.distanceTo(one);
    code.land(noVectors);
    code.vector(Operation.ADD, A, A, B);
    code.vector(Operation.ADD, C, C, D);
    code.vector(Operation.ADD, A, A, C);
    code.reduce(Operation.ADD, A, E);
  }

  private static void addProduct(MachineCode code, int sum, int offset, boolean squares) {
    if (squares) {
      code.vector(Operation.ADD_PRODUCT, sum, E, E);
    } else {
      code.vector(Operation.ADD_PRODUCT, sum, E, R8, NO_INDEX, offset);
    }
  }

  private static void goOn(MachineCode code, int bytes, boolean squares) {
    code.advance(RDI, bytes);
    if (!squares) {
      code.advance(R8, bytes);
    }
  }

  /** The scalar product with an array: {@code f(y, y, y, count, x)}, count a multiple of 16. */
  static byte[] product() {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
    sumOfProducts(code, false);
    code.result();
    return row.end();
  }

  /** The sum: {@code f(x, vectors)}. */
  static byte[] sum() {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
    code.vector(Operation.EXCLUSIVE_OR, A, A, A);
    int start = code.position();
    code.vector(Operation.ADD, A, A, RDI, NO_INDEX, 0);
    row.nextVector(start);
    code.reduce(Operation.ADD, A, B);
    code.result();
    return row.end();
  }

  /** The scalar product with bfloat16 numbers: {@code f(x, y, vectors)}. */
  static byte[] productWithBfloat16() {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
    code.vector(Operation.EXCLUSIVE_OR, A, A, A);
    int start = code.position();
    code.vector(Operation.LOAD_HALVES, B, 0, RSI, NO_INDEX, 0);
    code.shiftLeft(B, B, 16);
    code.vector(Operation.LOAD_FLOATS, C, 0, RDI, NO_INDEX, 0);
    code.vector(Operation.ADD_PRODUCT, A, B, C);
    code.advance(RDI, VECTOR_BYTES);
    code.advance(RSI, VECTOR_BYTES / 2);
    code.bytes(0x48, 0xFF, 0xCA, 0x0F, 0x85); // dec rdx; jnz
    code.distanceTo(start);
    code.reduce(Operation.ADD, A, B);
    code.result();
    return row.end();
  }

  /** The sum of squared distances from a mean: {@code f(x, vectors, mean)}. */
  static byte[] sumOfSquaredDistances() {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
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
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
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

  /** Adds numbers to others: {@code f(x, to, count)}. */
  static byte[] addition() {
    RowWriter row = new RowWriter();
    row.each(
        () -> {
          row.load(A, RDI);
          row.load(B, RSI);
          row.code().vector(Operation.ADD, A, B, A);
          row.store(A, RSI);
          row.advance(RDI, RSI);
        });
    return row.end();
  }

  /** Adds numbers of an array to others: {@code f(x, x, x, count, from, to)}; from in bytes. */
  static byte[] additionOfArray() {
    RowWriter row = new RowWriter();
    row.code().add(RDI, R8);
    row.code().move(RDX, RCX);
    row.each(
        () -> {
          row.load(A, RDI);
          row.load(B, R9);
          row.code().vector(Operation.ADD, A, B, A);
          row.store(A, R9);
          row.advance(RDI, R9);
        });
    return row.end();
  }

  /** Numbers times a factor: {@code f(x, to, count, factor)}. */
  static byte[] multiplication() {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
    code.broadcast(B, RCX);
    row.each(
        () -> {
          row.load(A, RDI);
          code.vector(Operation.MULTIPLY, A, A, B);
          row.store(A, RSI);
          row.advance(RDI, RSI);
        });
    return row.end();
  }

  /** Turns pairs: {@code f(first, cosines, sines, count, second)}. */
  static byte[] rotation() {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
    code.move(R10, RDX);
    code.move(RDX, RCX);
    row.each(
        () -> {
          row.load(A, RDI);
          row.load(B, R8);
          row.load(C, RSI);
          row.load(D, R10);
          code.vector(Operation.MULTIPLY, E, A, C);
          code.vector(Operation.MULTIPLY, F, B, D);
          code.vector(Operation.SUBTRACT, E, E, F);
          row.store(E, RDI);
          code.vector(Operation.MULTIPLY, E, B, C);
          code.vector(Operation.MULTIPLY, F, A, D);
          code.vector(Operation.ADD, E, E, F);
          row.store(E, R8);
          row.advance(RDI, R8, RSI, R10);
        });
    return row.end();
  }
}
