package org.eellm.kernel.machine;

import static org.eellm.kernel.machine.MachineCode.NO_INDEX;
import static org.eellm.kernel.machine.MachineCode.R10;
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

import org.eellm.kernel.machine.MachineCode.Operation;

/**
 * Machine code for norms, sums and rotations, for x86-64 processors with AVX-512: the operations of
 * the Vector API's kernels in the same order. What the JVM compiles is as fast, but only after a
 * second or two of decoding.
 */
final class RowCode {
  private RowCode() {}

  /** The sum of squares: {@code f(x, fours, vectors)}, four vectors each. */
  static byte[] sumOfSquares() {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
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
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
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

  /**
   * Numbers of an array times a factor: {@code f(x, x, x, count, from, to, factor)}; from in bytes.
   */
  static byte[] multiplicationOfArray() {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
    code.bytes(0x4C, 0x8B, 0x54, 0x24, 0x08); // mov r10, [rsp + 8]: factor
    code.broadcast(B, R10);
    code.add(RDI, R8);
    code.move(RDX, RCX);
    row.each(
        () -> {
          row.load(A, RDI);
          code.vector(Operation.MULTIPLY, A, A, B);
          row.store(A, R9);
          row.advance(RDI, R9);
        });
    return row.end();
  }

  /**
   * Turns pairs: {@code f(x, cosines, sines, count, first, second, from)}, with arrays; {@code
   * first}, {@code second} and {@code from} in bytes.
   */
  static byte[] rotation() {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
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
}
