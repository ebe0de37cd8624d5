package org.eellm.kernel.machine;

import static org.eellm.kernel.machine.MachineCode.NO_INDEX;
import static org.eellm.kernel.machine.MachineCode.R8;
import static org.eellm.kernel.machine.MachineCode.R9;
import static org.eellm.kernel.machine.MachineCode.RAX;
import static org.eellm.kernel.machine.MachineCode.RCX;
import static org.eellm.kernel.machine.MachineCode.RDI;
import static org.eellm.kernel.machine.MachineCode.RDX;
import static org.eellm.kernel.machine.MachineCode.RSI;
import static org.eellm.kernel.machine.MachineCode.VECTOR_BYTES;
import static org.eellm.kernel.machine.RowWriter.A;
import static org.eellm.kernel.machine.RowWriter.B;
import static org.eellm.kernel.machine.RowWriter.C;
import static org.eellm.kernel.machine.RowWriter.MASK;

import org.eellm.kernel.machine.MachineCode.Operation;
import org.eellm.kernel.vector.SplitMix;

/**
 * Machine code for drawing a token: what has to look at each id of a vocabulary. Arrays are whole
 * vectors of 16.
 */
final class SamplingCode {
  private static final int HALF_BYTES = VECTOR_BYTES / 2;
  private static final int GREATER = 14; // of vcmpps

  // Constants.
  private static final int FIRST = 16;

  /** Of 2 to the power of x: {@code (x log(2) / 128)^n / n!}, the highest n first. */
  private static final double[] POLYNOMIAL = {
    1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 1.0 / 2, 1, 1
  };

  private SamplingCode() {}

  /** {@code x = (x - max) factor}: {@code f(x, x, x, vectors, factor)}; the max's first place. */
  static byte[] scaling() {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
    code.constant(A, Float.floatToRawIntBits(Float.NEGATIVE_INFINITY));
    code.broadcast(C, R8);
    code.move(RSI, RCX);
    int largest = code.position();
    code.vector(Operation.LARGER, A, A, RDI, NO_INDEX, 0);
    row.nextVector(largest);
    code.reduce(Operation.LARGER, A, B);
    code.move(RDI, RDX);
    code.move(RSI, RCX);
    int scale = code.position();
    code.vector(Operation.LOAD_FLOATS, B, 0, RDI, NO_INDEX, 0);
    code.vector(Operation.SUBTRACT, B, B, A);
    code.vector(Operation.MULTIPLY, B, B, C);
    code.vector(Operation.STORE_FLOATS, B, 0, RDI, NO_INDEX, 0);
    row.nextVector(scale);
    code.move(RDI, RDX);
    code.move(RSI, RCX);
    code.vector(Operation.EXCLUSIVE_OR, A, A, A);
    return LogitCode.endWithPlace(row);
  }

  /**
   * 2 to the power of each: {@code f(powers, out, out, halves)}, with vectors of 8 in double.
   *
   * <p>e to the power of x is the 128th power of that of x / 128, for which a few terms are enough.
   */
  static byte[] powersOfTwo() {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
    int lowest = FIRST;
    int step = FIRST + 1;
    int coefficients = FIRST + 2;
    code.wideConstant(lowest, Double.doubleToRawLongBits(RowFunctions.LOWEST_POWER));
    code.wideConstant(step, Double.doubleToRawLongBits(Math.log(2) / 128));
    for (int i = 0; i < POLYNOMIAL.length; i++) {
      code.wideConstant(coefficients + i, Double.doubleToRawLongBits(POLYNOMIAL[i]));
    }
    code.bytes(0xB8, 0xFF, 0, 0, 0); // mov eax, 0xFF
    code.bytes(0xC5, 0xF8, 0x92, 0xC8); // kmovw k1, eax
    int start = code.position();
    code.vector(Operation.DOUBLES_OF_FLOATS, A, 0, RDI, NO_INDEX, 0);
    code.vector(Operation.LARGER_DOUBLE, A, A, lowest);
    code.vector(Operation.MULTIPLY_DOUBLES, A, A, step);
    code.vector(Operation.MOVE, B, 0, coefficients);
    for (int i = 1; i < POLYNOMIAL.length; i++) { // two roundings, as in Java
      code.vector(Operation.MULTIPLY_DOUBLES, B, B, A);
      code.vector(Operation.ADD_DOUBLES, B, B, coefficients + i);
    }
    for (int power = 2; power <= 128; power *= 2) {
      code.vector(Operation.MULTIPLY_DOUBLES, B, B, B);
    }
    code.vector(Operation.FLOATS_OF_DOUBLES, B, 0, B);
    code.masked(Operation.STORE_FLOATS, MASK, B, RSI);
    code.advance(RDI, HALF_BYTES);
    code.advance(RSI, HALF_BYTES);
    code.bytes(0x48, 0xFF, 0xC9, 0x0F, 0x85); // dec rcx; jnz
    code.distanceTo(start);
    return row.end();
  }

  /**
   * A bit for each id: whether the zeros at the beginning of its random number, {@link
   * SplitMix#mixed}, and its power are together above a bound. {@code f(ids, powers, marks,
   * vectors, bytes before, key, bound)}.
   */
  static byte[] marking() {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
    int key = FIRST;
    int bound = FIRST + 1;
    int golden = FIRST + 2;
    int firstFactor = FIRST + 3;
    int secondFactor = FIRST + 4;
    code.bytes(0x8B, 0x44, 0x24, 0x08); // mov eax, [rsp + 8]
    code.broadcast(bound, RAX);
    code.vector(Operation.BROADCAST_LONG, key, 0, R9);
    code.wideConstant(golden, SplitMix.GOLDEN);
    code.wideConstant(firstFactor, SplitMix.FIRST_FACTOR);
    code.wideConstant(secondFactor, SplitMix.SECOND_FACTOR);
    code.add(RDI, R8);
    code.add(RSI, R8);
    int start = code.position();
    for (int half = 0; half < 2; half++) {
      code.vector(Operation.LONGS_OF_INTS, A, 0, RDI, NO_INDEX, half * HALF_BYTES);
      code.vector(Operation.MULTIPLY_LONGS, A, A, golden);
      code.vector(Operation.ADD_LONGS, A, A, key);
      mix(code, 30);
      code.vector(Operation.MULTIPLY_LONGS, A, A, firstFactor);
      mix(code, 27);
      code.vector(Operation.MULTIPLY_LONGS, A, A, secondFactor);
      mix(code, 31);
      code.vector(Operation.LEADING_ZEROS, A, 0, A);
      code.vector(Operation.INTS_OF_LONGS, A, 0, half == 0 ? C : A);
    }
    code.vector(Operation.INSERT_HALF, A, C, A);
    code.bytes(1); // the upper
    code.vector(Operation.TO_FLOATS, A, 0, A);
    code.vector(Operation.ADD, A, A, RSI, NO_INDEX, 0);
    code.vector(Operation.COMPARE, MASK, A, bound);
    code.bytes(GREATER);
    code.bytes(0xC5, 0xF8, 0x93, 0xC1); // kmovw eax, k1
    code.bytes(0x66, 0x89, 0x02); // mov [rdx], ax
    code.advance(RDI, VECTOR_BYTES);
    code.advance(RSI, VECTOR_BYTES);
    code.advance(RDX, Short.BYTES);
    code.bytes(0x48, 0xFF, 0xC9, 0x0F, 0x85); // dec rcx; jnz
    code.distanceTo(start);
    return row.end();
  }

  /** {@code A = A ^ A >>> bits}. */
  private static void mix(MachineCode code, int bits) {
    code.vector(Operation.SHIFT_LONGS, 2, B, A); // vpsrlq
    code.bytes(bits);
    code.vector(Operation.EXCLUSIVE_OR, A, A, B);
  }
}
