package org.eellm.kernel;

import static org.eellm.kernel.machine.ExponentialCode.LOWEST;
import static org.eellm.kernel.machine.ExponentialCode.MINUS_INFINITY;
import static org.eellm.kernel.machine.ExponentialCode.P;
import static org.eellm.kernel.machine.ExponentialCode.SHIFTED;
import static org.eellm.kernel.machine.ExponentialCode.X;
import static org.eellm.kernel.machine.MachineCode.NO_INDEX;
import static org.eellm.kernel.machine.MachineCode.R10;
import static org.eellm.kernel.machine.MachineCode.R11;
import static org.eellm.kernel.machine.MachineCode.R12;
import static org.eellm.kernel.machine.MachineCode.R13;
import static org.eellm.kernel.machine.MachineCode.R14;
import static org.eellm.kernel.machine.MachineCode.R15;
import static org.eellm.kernel.machine.MachineCode.R8;
import static org.eellm.kernel.machine.MachineCode.R9;
import static org.eellm.kernel.machine.MachineCode.RAX;
import static org.eellm.kernel.machine.MachineCode.RBP;
import static org.eellm.kernel.machine.MachineCode.RBX;
import static org.eellm.kernel.machine.MachineCode.RCX;
import static org.eellm.kernel.machine.MachineCode.RDI;
import static org.eellm.kernel.machine.MachineCode.RDX;
import static org.eellm.kernel.machine.MachineCode.RSI;
import static org.eellm.kernel.machine.MachineCode.VECTOR_BYTES;

import org.eellm.kernel.machine.ControlCode;
import org.eellm.kernel.machine.ControlCode.Condition;
import org.eellm.kernel.machine.ExponentialCode;
import org.eellm.kernel.machine.MachineCode;
import org.eellm.kernel.machine.MachineCode.Operation;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Machine code for attention, for x86-64 processors with AVX-512: the operations of {@link
 * VectorAttention} in the same order. What the JVM compiles is as fast, but only after a second or
 * two; until then a prompt takes a hundred times as long. And here memory is asked for what is read
 * next: pages are small, and the processor's own prefetching begins anew at each.
 *
 * <p>Functions take addresses, sizes and the bits of float32 numbers.
 */
final class AttentionCode {
  /** Rows whose sums stay in registers. */
  static final int MOST_ROWS = 6;

  /** With more rows arithmetic takes longer than memory. */
  private static final int MOST_ROWS_AHEAD = 4;

  /** Pointers to streams of weights. */
  static final int[] STREAMS = {RDI, RSI, RDX, RCX};

  /** Pointers to the rows of x. */
  private static final int[] ROWS = {RAX, RBX, RBP, R12, R13, R14};

  // Vector registers of products, behind the sums.
  private static final int WEIGHTS = 24;
  private static final int NUMBERS = 28;
  private static final int UPPER_HALF = 31;

  // Vector registers of exponentials: those of ExponentialCode, and these.
  private static final int SCORE = 6;
  private static final int TOTAL = 7;
  private static final int MAX = 8;

  // Vector registers of divisions, beside those.
  private static final int EXPONENT = 9;
  private static final int OVERFLOW = 10;
  private static final int FLAGS = 11;

  private static final int NOT_EQUAL = 4; // or NaN, of vcmpps

  private final MachineCode code = new MachineCode();
  private final ExponentialCode exponential = new ExponentialCode(code);

  private AttentionCode() {}

  /**
   * Products of rows of float32 numbers and weights in a format: {@code f(w0, w1, w2, w3, steps, x,
   * y)}.
   *
   * @param streams of weights, 1 to 4
   * @param vectors of outputs in each stream; at most 4 in all streams
   * @param adds whether sums begin with what y has
   * @param strides how far apart things are
   */
  record Products(
      WeightFormat format, int rows, int streams, int vectors, boolean adds, Strides strides) {

    byte[] code() {
      AttentionCode function = new AttentionCode();
      function.products(this);
      return function.code.toByteArray();
    }

    private int all() {
      return streams * vectors;
    }
  }

  /**
   * How far apart things are, in bytes.
   *
   * @param step from a group of inputs to the next
   * @param x from a row of x to the next
   * @param y from a row of y to the next
   * @param ahead from weights to what is read next; with one stream {@code w1} is where that begins
   */
  record Strides(int step, int x, int y, int ahead) {}

  private void products(Products of) {
    code.bytes(0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57); // push rbx, rbp, r12-15
    code.move(ROWS[0], R9);
    for (int row = 1; row < of.rows; row++) {
      code.move(ROWS[row], ROWS[row - 1]);
      code.advance(ROWS[row], of.strides.x);
    }
    if (of.format == WeightFormat.BFLOAT16) {
      code.bytes(0x41, 0xBA); // mov r10d, ...
      code.number(0xFFFF0000);
      code.broadcast(UPPER_HALF, R10);
    }
    begin(of);
    code.bytes(0x45, 0x31, 0xD2); // xor r10d, r10d: the input
    code.bytes(0x45, 0x31, 0xDB); // xor r11d, r11d: where weights are, in units of 4 bytes
    int step = code.position();
    for (int v = 0; v < of.all(); v++) {
      int stream = STREAMS[v / of.vectors];
      int offset = v % of.vectors * VECTOR_BYTES;
      code.vector(Operation.LOAD_FLOATS, WEIGHTS + v, 0, stream, R11, offset);
      if (of.rows <= MOST_ROWS_AHEAD && of.streams == 1) {
        code.prefetch(RSI, R11, offset);
      } else if (of.rows <= MOST_ROWS_AHEAD) {
        code.prefetch(stream, R11, offset + of.strides.ahead);
      }
    }
    int inputs = of.format.inputsTogether();
    for (int i = 0; i < inputs; i++) {
      boolean lastFirst = of.format == WeightFormat.BFLOAT16; // as vdpbf16ps does
      addInput(of, lastFirst ? inputs - 1 - i : i);
    }
    code.advance(R10, inputs);
    code.advance(R11, of.strides.step / 4);
    code.bytes(0x49, 0xFF, 0xC8); // dec r8
    code.bytes(0x0F, 0x85); // jnz
    code.distanceTo(step);
    outputs(of, Operation.STORE_FLOATS);
    code.bytes(0xC5, 0xF8, 0x77); // vzeroupper
    code.bytes(0x41, 0x5F, 0x41, 0x5E, 0x41, 0x5D, 0x41, 0x5C, 0x5D, 0x5B, 0xC3); // pop ...; ret
  }

  private void begin(Products of) {
    if (of.adds) {
      outputs(of, Operation.LOAD_FLOATS);
    } else {
      for (int sum = 0; sum < of.rows * of.all(); sum++) {
        code.vector(Operation.EXCLUSIVE_OR, sum, sum, sum);
      }
    }
  }

  private void outputs(Products of, Operation operation) {
    code.bytes(0x4C, 0x8B, 0x7C, 0x24, 0x38); // mov r15, [rsp + 56]: y
    for (int row = 0; row < of.rows; row++) {
      for (int v = 0; v < of.all(); v++) {
        code.vector(operation, row * of.all() + v, 0, R15, NO_INDEX, v * VECTOR_BYTES);
      }
      code.advance(R15, of.strides.y);
    }
  }

  /** Adds one input times its weights to all sums. */
  private void addInput(Products of, int input) {
    for (int v = 0; v < of.all(); v++) {
      int weights = WEIGHTS + v;
      int numbers = NUMBERS + v % 3;
      switch (of.format) {
        case FLOAT32 -> numbers = weights;
        case BFLOAT16 -> {
          if (input == 0) {
            code.shiftLeft(numbers, weights, 16);
          } else {
            code.vector(Operation.AND, numbers, weights, UPPER_HALF);
          }
        }
        case INT8 -> {
          code.shiftLeft(numbers, weights, 24 - 8 * input);
          code.shiftRightSigned(numbers, numbers, 24);
          code.vector(Operation.TO_FLOATS, numbers, 0, numbers);
        }
        case INT4 -> throw new IllegalArgumentException(of.toString());
      }
      for (int row = 0; row < of.rows; row++) {
        int sum = row * of.all() + v;
        code.vectorOfOne(Operation.ADD_PRODUCT, sum, numbers, ROWS[row], R10, 4 * input);
      }
    }
  }

  /**
   * The largest of some scores: {@code f(scores, vectors, visible, keyScales, before)}.
   *
   * <p>{@code visible} has a bit for each position; the others do not count. {@code before} counts.
   *
   * @param scaled whether scores are multiplied with scales first
   */
  static byte[] largest(boolean scaled) {
    AttentionCode function = new AttentionCode();
    function.writeLargest(scaled);
    return function.code.toByteArray();
  }

  private void writeLargest(boolean scaled) {
    code.broadcast(MAX, R8);
    int next = code.position();
    visible();
    score(scaled);
    code.masked(Operation.LARGER, 1, MAX, MAX, SCORE);
    next(next, scaled);
    code.reduce(Operation.LARGER, MAX, X);
    code.vector(Operation.MOVE, 0, 0, MAX);
    code.result();
    code.end();
  }

  /**
   * Exponentials of scores below the largest: {@code f(scores, vectors, visible, keyScales,
   * valueScales, weights, total, max)}.
   *
   * @param scaled whether scores and weights are multiplied with scales
   */
  static byte[] exponentials(boolean scaled) {
    AttentionCode function = new AttentionCode();
    function.writeExponentials(scaled);
    return function.code.toByteArray();
  }

  private void writeExponentials(boolean scaled) {
    exponential.constants();
    code.bytes(0x4C, 0x8B, 0x5C, 0x24, 0x08); // mov r11, [rsp + 8]: the total
    code.bytes(0x4C, 0x8B, 0x54, 0x24, 0x10); // mov r10, [rsp + 16]: max
    code.broadcast(MAX, R10);
    code.vector(Operation.LOAD_FLOATS, TOTAL, 0, R11, NO_INDEX, 0);
    int next = code.position();
    visible();
    score(scaled);
    code.vector(Operation.SUBTRACT, X, SCORE, MAX);
    code.vector(Operation.LARGER, X, LOWEST, X); // NaN stays
    exponential.write();
    code.masked(Operation.COMPARE, 1, 2, SCORE, MINUS_INFINITY); // visible, and not of -infinity
    code.bytes(NOT_EQUAL);
    code.maskedOrZero(Operation.MULTIPLY, 2, P, P, SHIFTED);
    code.vector(Operation.ADD, TOTAL, TOTAL, P);
    if (scaled) {
      code.vector(Operation.LOAD_FLOATS, SHIFTED, 0, R8, NO_INDEX, 0);
      code.maskedOrZero(Operation.MULTIPLY, 2, P, P, SHIFTED); // a hidden scale may be NaN
      code.advance(R8, VECTOR_BYTES);
    }
    code.vector(Operation.STORE_FLOATS, P, 0, R9, NO_INDEX, 0);
    code.advance(R9, VECTOR_BYTES);
    next(next, scaled);
    code.vector(Operation.STORE_FLOATS, TOTAL, 0, R11, NO_INDEX, 0);
    code.end();
  }

  /** Makes a mask of the next 16 positions that are visible. */
  private void visible() {
    code.bytes(0xC5, 0xF8, 0x92, 0xCA); // kmovw k1, edx
    code.bytes(0x48, 0xC1, 0xEA, 16); // shr rdx, 16
  }

  private void score(boolean scaled) {
    code.vector(Operation.LOAD_FLOATS, SCORE, 0, RDI, NO_INDEX, 0);
    if (scaled) {
      code.vector(Operation.MULTIPLY, SCORE, SCORE, RCX, NO_INDEX, 0);
    }
  }

  /** Goes on with the next scores, while there are any. */
  private void next(int start, boolean scaled) {
    if (scaled) {
      code.advance(RCX, VECTOR_BYTES);
    }
    nextVector(start);
  }

  private void nextVector(int start) {
    code.advance(RDI, VECTOR_BYTES);
    code.bytes(0x48, 0xFF, 0xCE); // dec rsi
    code.bytes(0x0F, 0x85); // jnz
    code.distanceTo(start);
  }

  /** By what earlier sums are multiplied where a larger score has come: {@code f(before, max)}. */
  static byte[] factor() {
    AttentionCode function = new AttentionCode();
    MachineCode code = function.code;
    function.exponential.constants();
    code.broadcast(X, RDI);
    code.broadcast(MAX, RSI);
    code.vector(Operation.SUBTRACT, X, X, MAX);
    code.vector(Operation.LARGER, X, LOWEST, X);
    function.exponential.write();
    code.vector(Operation.MULTIPLY, 0, P, SHIFTED);
    code.result();
    code.end();
    return code.toByteArray();
  }

  /** Multiplies numbers in place: {@code f(at, vectors, factor)}. */
  static byte[] scaling() {
    AttentionCode function = new AttentionCode();
    MachineCode code = function.code;
    code.broadcast(MAX, RDX);
    int next = code.position();
    code.vector(Operation.MULTIPLY, X, MAX, RDI, NO_INDEX, 0);
    code.vector(Operation.STORE_FLOATS, X, 0, RDI, NO_INDEX, 0);
    function.nextVector(next);
    code.end();
    return code.toByteArray();
  }

  /**
   * Writes rows of sums over their totals, each a vector's: {@code f(sums, vectors, totals, out,
   * rows)}. What is negative as an integer tells that a quotient is not finite.
   */
  static byte[] division() {
    AttentionCode function = new AttentionCode();
    MachineCode code = function.code;
    ControlCode control = new ControlCode(code);
    code.constant(EXPONENT, 0x7F800000);
    code.constant(OVERFLOW, 0x00800000); // makes the exponent of what is not finite negative
    code.vector(Operation.EXCLUSIVE_OR, FLAGS, FLAGS, FLAGS);
    code.move(R9, RSI);
    int row = code.position();
    code.move(RSI, R9);
    code.vector(Operation.LOAD_FLOATS, TOTAL, 0, RDX, NO_INDEX, 0);
    code.reduce(Operation.ADD, TOTAL, X);
    code.vector(Operation.BROADCAST_FLOAT, TOTAL, 0, TOTAL);
    int next = code.position();
    code.vector(Operation.LOAD_FLOATS, X, 0, RDI, NO_INDEX, 0);
    code.vector(Operation.DIVIDE, X, X, TOTAL);
    code.vector(Operation.STORE_FLOATS, X, 0, RCX, NO_INDEX, 0);
    code.vector(Operation.AND, X, X, EXPONENT);
    code.vector(Operation.ADD_INTS, X, X, OVERFLOW);
    code.vector(Operation.OR, FLAGS, FLAGS, X);
    code.advance(RCX, VECTOR_BYTES);
    function.nextVector(next);
    code.advance(RDX, VECTOR_BYTES);
    code.advance(R8, -1);
    control.compareWith(R8, 0);
    control.jumpBackIf(Condition.GREATER, row);
    code.reduce(Operation.OR, FLAGS, X);
    code.vector(Operation.MOVE, 0, 0, FLAGS);
    code.result();
    code.end();
    return code.toByteArray();
  }
}
