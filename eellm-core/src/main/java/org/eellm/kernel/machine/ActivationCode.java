package org.eellm.kernel.machine;

import static org.eellm.kernel.machine.ExponentialCode.HIGHEST;
import static org.eellm.kernel.machine.ExponentialCode.LOWEST;
import static org.eellm.kernel.machine.ExponentialCode.ONE;
import static org.eellm.kernel.machine.ExponentialCode.P;
import static org.eellm.kernel.machine.ExponentialCode.SHIFTED;
import static org.eellm.kernel.machine.ExponentialCode.X;
import static org.eellm.kernel.machine.MachineCode.R10;
import static org.eellm.kernel.machine.MachineCode.R8;
import static org.eellm.kernel.machine.MachineCode.R9;
import static org.eellm.kernel.machine.MachineCode.RCX;
import static org.eellm.kernel.machine.MachineCode.RDI;
import static org.eellm.kernel.machine.MachineCode.RDX;
import static org.eellm.kernel.machine.MachineCode.RSI;
import static org.eellm.kernel.machine.RowWriter.FIRST;
import static org.eellm.kernel.machine.RowWriter.SECOND;
import static org.eellm.kernel.machine.RowWriter.SUM;

import java.util.function.Consumer;
import org.eellm.kernel.machine.MachineCode.Operation;

/**
 * Machine code for activation functions, as {@link RowCode} is for norms.
 *
 * @param row that is written
 * @param code of the row
 */
record ActivationCode(RowWriter row, MachineCode code) {
  private static final int ARGUMENT = 9;
  private static final int SIZE = 10;
  private static final int TEMPORARY = 11;

  private static final int LESS = 1; // of vcmpps

  /** A function whose body is written for the next 16 numbers. */
  private static byte[] function(Consumer<ActivationCode> body) {
    return begin().end(body);
  }

  private static ActivationCode begin() {
    RowWriter row = new RowWriter();
    ActivationCode function = new ActivationCode(row, row.code());
    function.exponential().constants();
    function.code.move(RDX, RCX);
    return function;
  }

  private byte[] end(Consumer<ActivationCode> body) {
    row.each(() -> body.accept(this));
    return row.end();
  }

  private ExponentialCode exponential() {
    return new ExponentialCode(code);
  }

  /**
   * {@code silu(gate) up}: {@code f(out, out, out, count, gate, up)}, with an array. Blocks of
   * gates and of what they multiply come in turn, each as long as {@code up} is behind {@code
   * gate}.
   */
  static byte[] swiGlu() {
    ActivationCode function = begin();
    function.code.move(RSI, R9);
    new ControlCode(function.code).subtract(RSI, R8);
    function.code.move(R10, RSI); // bytes that are left of the block
    return function.end(ActivationCode::writeSwiGlu);
  }

  private void writeSwiGlu() {
    row.load(FIRST, R8);
    row.load(SECOND, R9);
    code.vector(Operation.MOVE, X, 0, FIRST);
    negate(X);
    sigmoidOfNegative();
    code.vector(Operation.MULTIPLY, P, FIRST, P);
    code.vector(Operation.MULTIPLY, P, P, SECOND);
    row.store(P, RDI);
    row.advance(R8, R9, RDI);
    code.advance(R10, -MachineCode.VECTOR_BYTES);
    code.bytes(0x0F, 0x85); // jnz
    int inside = code.distanceAhead();
    code.add(R8, RSI);
    code.add(R9, RSI);
    code.move(R10, RSI);
    code.land(inside);
  }

  /** {@code x / 2 (1 + erf(x / sqrt(2)))}: {@code f(out, out, out, count, x)}, with an array. */
  static byte[] gelu() {
    return function(ActivationCode::writeGelu);
  }

  private void writeGelu() {
    row.load(FIRST, R8);
    multiplyBy(ARGUMENT, FIRST, 0.70710678f);
    code.constant(TEMPORARY, Integer.MAX_VALUE);
    code.vector(Operation.AND, SIZE, ARGUMENT, TEMPORARY);
    multiplyBy(SECOND, SIZE, 0.3275911f);
    code.vector(Operation.ADD, SECOND, SECOND, ONE);
    code.vector(Operation.DIVIDE, SECOND, ONE, SECOND);
    constant(SUM, 1.061405429f);
    for (float next : new float[] {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) {
      constant(TEMPORARY, next);
      code.vector(Operation.MULTIPLY_ADD, SUM, SECOND, TEMPORARY);
    }
    code.vector(Operation.MULTIPLY, SUM, SUM, SECOND);
    code.vector(Operation.MULTIPLY, X, SIZE, SIZE);
    negate(X);
    code.vector(Operation.LARGER, X, LOWEST, X); // NaN stays
    exponential().write();
    code.vector(Operation.MULTIPLY, P, P, SHIFTED);
    code.vector(Operation.MULTIPLY, SUM, SUM, P);
    code.vector(Operation.SUBTRACT, SUM, ONE, SUM);
    code.constant(TEMPORARY, 0);
    code.vector(Operation.COMPARE, 2, ARGUMENT, TEMPORARY);
    code.bytes(LESS);
    code.constant(TEMPORARY, Integer.MIN_VALUE); // the sign
    code.masked(Operation.EXCLUSIVE_OR, 2, SUM, SUM, TEMPORARY);
    code.vector(Operation.ADD, SUM, SUM, ONE);
    multiplyBy(FIRST, FIRST, 0.5f);
    code.vector(Operation.MULTIPLY, FIRST, FIRST, SUM);
    row.store(FIRST, RDI);
    row.advance(R8, RDI);
  }

  /**
   * {@code x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))}: {@code f(out, out, out, count, x)},
   * with an array.
   */
  static byte[] geluTanh() {
    return function(ActivationCode::writeGeluTanh);
  }

  private void writeGeluTanh() {
    row.load(FIRST, R8);
    code.vector(Operation.MULTIPLY, X, FIRST, FIRST);
    code.vector(Operation.MULTIPLY, X, X, FIRST);
    multiplyBy(X, X, 0.044715f);
    code.vector(Operation.ADD, X, X, FIRST);
    multiplyBy(X, X, 2 * 0.79788456f);
    negate(X);
    sigmoidOfNegative();
    code.vector(Operation.MULTIPLY, P, FIRST, P);
    row.store(P, RDI);
    row.advance(R8, RDI);
  }

  /** Makes P one over one and the exponential of X, within bounds. */
  private void sigmoidOfNegative() {
    code.vector(Operation.LARGER, X, LOWEST, X); // NaN stays
    code.vector(Operation.SMALLER, X, HIGHEST, X);
    exponential().write();
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
}
