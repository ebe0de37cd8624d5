package org.eellm.kernel.weight;

import static org.eellm.kernel.machine.MachineCode.NO_INDEX;
import static org.eellm.kernel.machine.MachineCode.R11;
import static org.eellm.kernel.machine.MachineCode.R8;
import static org.eellm.kernel.machine.MachineCode.R9;
import static org.eellm.kernel.machine.MachineCode.RAX;
import static org.eellm.kernel.machine.MachineCode.RCX;
import static org.eellm.kernel.machine.MachineCode.RDI;
import static org.eellm.kernel.machine.MachineCode.RDX;
import static org.eellm.kernel.machine.MachineCode.RSI;
import static org.eellm.kernel.machine.MachineCode.VECTOR_BYTES;

import java.util.List;
import java.util.Optional;
import org.eellm.kernel.machine.ExecutableMemory;
import org.eellm.kernel.machine.MachineCode;
import org.eellm.kernel.machine.MachineCode.Operation;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeFunction;

/**
 * What {@link Int4Quantizer} does with a group, as machine code for x86-64 processors with AVX-512:
 * the same scales, and the same numbers wherever the scale is not NaN; the sign of zero aside. A
 * model is rounded when a process has just started, and code of the Vector API takes seconds to
 * become fast.
 *
 * <p>{@code void f(float[] tile, float[] factors, float[], long group, long to, long scales)}, by
 * the System V convention, takes vectors of 16 outputs one after the other.
 */
final class Int4Code {
  private static final int VECTORS = 4; // of a block's outputs
  private static final int STEP_BYTES = VECTORS * VECTOR_BYTES;
  private static final int HALF_BYTES = 32; // of a vector of scales

  // Of comparisons.
  private static final int EQUAL = 0;
  private static final int LESS = 1;

  // Vector registers.
  private static final int HIGH = 0;
  private static final int LOW = 1; // then the scale that cuts nothing off
  private static final int X = 2;
  private static final int Q = 3;
  private static final int SCALE = 4;
  private static final int INVERSE = 5;
  private static final int ERROR = 6;
  private static final int BEST = 7;
  private static final int BEST_ERROR = 8;
  private static final int ALL = 9; // that lie together
  private static final int HALVES = 10;
  private static final int ROUND = 16; // and other constants
  private static final int LEAST = 17;
  private static final int MOST = 18;
  private static final int ONE = 19;
  private static final int ZERO = 20;
  private static final int PER_LEAST = 21;
  private static final int TO_NUMBER = 22;
  private static final int NOT_A_NUMBER = 23;
  private static final int INFINITY = 24;

  private static final int MASK = 1;

  /** None where it cannot be used. */
  private static final Optional<NativeFunction> FUNCTION = load();

  private final MachineCode code = new MachineCode();

  private Int4Code() {}

  private static Optional<NativeFunction> load() {
    return ExecutableMemory.has("avx512f")
        ? ExecutableMemory.store(List.of(new Int4Code().write())).map(functions -> functions[0])
        : Optional.empty();
  }

  /** Whether there is machine code here. */
  static boolean works() {
    return FUNCTION.isPresent();
  }

  /**
   * Rounds a group of 64 outputs.
   *
   * @param tile numbers: [group, 64]
   * @param factors by which scales are tried
   * @param to address of the numbers
   * @param scales address of the scales
   */
  static void round(FloatArray tile, FloatArray factors, int group, long to, long scales) {
    FUNCTION.orElseThrow().callWithArrays(tile, factors, factors, group, to, scales, 0);
  }

  private byte[] write() {
    constants();
    code.bytes(0x53); // push rbx
    code.bytes(0x41, 0xBA); // mov r10d, ...
    code.number(VECTORS);
    int vector = code.position();
    findWhole();
    findScale();
    findInverse(BEST);
    pack();
    code.vector(Operation.HALVES_OF_FLOATS, BEST, 0, R9, NO_INDEX, 0);
    code.bytes(0); // to nearest, ties to even
    code.advance(RDI, VECTOR_BYTES);
    code.advance(R8, VECTOR_BYTES);
    code.advance(R9, HALF_BYTES);
    code.bytes(0x49, 0xFF, 0xCA, 0x0F, 0x85); // dec r10; jnz
    code.distanceTo(vector);
    code.bytes(0x5B); // pop rbx
    code.end();
    return code.toByteArray();
  }

  private void constants() {
    constant(ROUND, Int4Quantizer.ROUND);
    constant(LEAST, Int4Quantizer.LEAST);
    constant(MOST, Int4Quantizer.MOST);
    constant(ONE, 1);
    constant(ZERO, 0);
    constant(PER_LEAST, 1 / Int4Quantizer.LEAST); // a power of two
    constant(NOT_A_NUMBER, Float.NaN);
    constant(INFINITY, Float.POSITIVE_INFINITY);
    code.constant(TO_NUMBER, WeightFormat.INT4.offset() - Int4Quantizer.ROUND_BITS);
  }

  private void constant(int register, float value) {
    code.constant(register, Float.floatToRawIntBits(value));
  }

  /** Runs a body for each number of an output. */
  private void each(Runnable body) {
    code.move(RAX, RDI);
    code.move(R11, RCX);
    int start = code.position();
    code.vector(Operation.LOAD_FLOATS, X, 0, RAX, NO_INDEX, 0);
    body.run();
    code.advance(RAX, STEP_BYTES);
    code.bytes(0x49, 0xFF, 0xCB, 0x0F, 0x85); // dec r11; jnz
    code.distanceTo(start);
  }

  /** The number that is largest without its sign, over the least of 4 bits. */
  private void findWhole() {
    code.vector(Operation.MOVE, HIGH, 0, ZERO);
    code.vector(Operation.MOVE, LOW, 0, ZERO);
    each(
        () -> {
          code.vector(Operation.LARGER, HIGH, HIGH, X);
          code.vector(Operation.SMALLER, LOW, LOW, X);
        });
    code.vector(Operation.SUBTRACT, Q, ZERO, LOW);
    compare(LESS, Q, HIGH);
    code.masked(Operation.MOVE, MASK, LOW, 0, HIGH);
    code.vector(Operation.MULTIPLY, LOW, LOW, PER_LEAST);
  }

  private void compare(int how, int first, int second) {
    code.vector(Operation.COMPARE, MASK, first, second);
    code.bytes(how);
  }

  private void findScale() {
    code.vector(Operation.MOVE, BEST, 0, NOT_A_NUMBER);
    code.vector(Operation.MOVE, BEST_ERROR, 0, INFINITY);
    code.move(RDX, RSI);
    code.bytes(0xBB); // mov ebx, ...
    code.number(Int4Quantizer.FACTORS);
    int factor = code.position();
    code.vectorOfOne(Operation.MULTIPLY, SCALE, LOW, RDX, NO_INDEX, 0);
    code.vector(Operation.HALVES_OF_FLOATS, SCALE, 0, HALVES);
    code.bytes(0);
    code.vector(Operation.FLOATS_OF_HALVES, SCALE, 0, HALVES);
    findInverse(SCALE);
    code.vector(Operation.MOVE, ERROR, 0, ZERO);
    each(
        () -> {
          round();
          code.vector(Operation.MULTIPLY, Q, SCALE, Q);
          code.vector(Operation.SUBTRACT, Q, X, Q);
          code.vector(Operation.ADD_PRODUCT, ERROR, Q, Q);
        });
    compare(LESS, ERROR, BEST_ERROR);
    code.masked(Operation.MOVE, MASK, BEST_ERROR, 0, ERROR);
    code.masked(Operation.MOVE, MASK, BEST, 0, SCALE);
    code.advance(RDX, Float.BYTES);
    code.bytes(0xFF, 0xCB, 0x0F, 0x85); // dec ebx; jnz
    code.distanceTo(factor);
  }

  /** 0 of 0. */
  private void findInverse(int scale) {
    code.vector(Operation.DIVIDE, INVERSE, ONE, scale);
    compare(EQUAL, scale, ZERO);
    code.masked(Operation.MOVE, MASK, INVERSE, 0, ZERO);
  }

  /** Makes q of x. */
  private void round() {
    code.vector(Operation.MULTIPLY, Q, X, INVERSE);
    code.vector(Operation.ADD, Q, Q, ROUND);
    code.vector(Operation.SUBTRACT, Q, Q, ROUND);
    code.vector(Operation.LARGER, Q, Q, LEAST);
    code.vector(Operation.SMALLER, Q, Q, MOST);
  }

  private void pack() {
    int together = WeightFormat.INT4.inputsTogether();
    code.move(RAX, RDI);
    code.move(R11, RCX);
    code.move(RDX, R8);
    int step = code.position();
    code.vector(Operation.MOVE, ALL, 0, ZERO);
    for (int i = 0; i < together; i++) {
      code.vector(Operation.LOAD_FLOATS, X, 0, RAX, NO_INDEX, i * STEP_BYTES);
      round();
      code.vector(Operation.ADD, Q, Q, ROUND);
      code.vector(Operation.ADD_INTS, Q, Q, TO_NUMBER);
      code.shiftLeft(Q, Q, WeightFormat.INT4.shift(i));
      code.vector(Operation.OR, ALL, ALL, Q);
    }
    code.vector(Operation.STORE_FLOATS, ALL, 0, RDX, NO_INDEX, 0);
    code.advance(RAX, together * STEP_BYTES);
    code.advance(RDX, STEP_BYTES);
    code.bytes(0x49, 0x83, 0xEB, together, 0x0F, 0x85); // sub r11, ...; jnz
    code.distanceTo(step);
  }
}
