package org.eellm.kernel.weight;

import java.util.Optional;
import org.eellm.kernel.assembler.Assembler;
import org.eellm.kernel.assembler.Comparison;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.assembler.Vector;
import org.eellm.kernel.machine.ExecutableMemory;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeFunction;

/**
 * {@link Int4Quantizer}'s rounding of a group, as machine code for x86-64 processors with AVX-512:
 * the same scales, and the same numbers wherever the scale is not NaN; the sign of zero aside. A
 * model is rounded when a process has just started, and code of the Vector API takes seconds to
 * become fast.
 *
 * <p>{@code void f(float[] tile, float[] factors, float[], long group, long to, long scales)}, by
 * the System V convention, takes vectors of 16 outputs one after the other.
 */
final class Int4Code extends Assembler {
  private static final int VECTORS = 4; // of a block's outputs
  private static final int VECTOR_BYTES = 64;
  private static final int STEP_BYTES = VECTORS * VECTOR_BYTES;
  private static final int HALF_BYTES = 32; // of a vector of scales
  private static final int NEAREST = 0; // how to round: ties to even

  // Vector registers.
  private static final Vector HIGH = zmm(0);
  private static final Vector LOW = zmm(1); // then the scale that cuts nothing off
  private static final Vector X = zmm(2);
  private static final Vector Q = zmm(3);
  private static final Vector SCALE = zmm(4);
  private static final Vector INVERSE = zmm(5);
  private static final Vector ERROR = zmm(6);
  private static final Vector BEST = zmm(7);
  private static final Vector BEST_ERROR = zmm(8);
  private static final Vector ALL = zmm(9); // that lie together
  private static final Vector HALVES = zmm(10);
  private static final Vector ROUND = zmm(16); // and other constants
  private static final Vector LEAST = zmm(17);
  private static final Vector MOST = zmm(18);
  private static final Vector ONE = zmm(19);
  private static final Vector ZERO = zmm(20);
  private static final Vector PER_LEAST = zmm(21);
  private static final Vector TO_NUMBER = zmm(22);
  private static final Vector NOT_A_NUMBER = zmm(23);
  private static final Vector INFINITY = zmm(24);

  /** None where it cannot be used. */
  private static final Optional<NativeFunction> FUNCTION = ExecutableMemory.store(Int4Code::code);

  static MachineCode code() {
    return new Int4Code().write();
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

  private MachineCode write() {
    constants();
    enter(0, RBX);
    mov(R10D, VECTORS);
    Label vector = here();
    findWhole();
    findScale();
    findInverse(BEST);
    pack();
    vcvtps2ph(at(R9), BEST, NEAREST);
    add(RDI, VECTOR_BYTES);
    add(R8, VECTOR_BYTES);
    add(R9, HALF_BYTES);
    dec(R10);
    jne(vector);
    leaveVectors();
    return finish();
  }

  private void constants() {
    fillFloats(ROUND, Int4Quantizer.ROUND);
    fillFloats(LEAST, Int4Quantizer.LEAST);
    fillFloats(MOST, Int4Quantizer.MOST);
    fillFloats(ONE, 1);
    fillFloats(ZERO, 0);
    fillFloats(PER_LEAST, 1 / Int4Quantizer.LEAST); // a power of two
    fillFloats(NOT_A_NUMBER, Float.NaN);
    fillFloats(INFINITY, Float.POSITIVE_INFINITY);
    fillInts(TO_NUMBER, WeightFormat.INT4.offset() - Int4Quantizer.ROUND_BITS);
  }

  /** Runs a body for each number of an output. */
  private void each(Runnable body) {
    mov(RAX, RDI);
    mov(R11, RCX);
    Label start = here();
    vmovups(X, at(RAX));
    body.run();
    add(RAX, STEP_BYTES);
    dec(R11);
    jne(start);
  }

  /** The number that is largest without its sign, over the least of 4 bits. */
  private void findWhole() {
    vmovaps(HIGH, ZERO);
    vmovaps(LOW, ZERO);
    each(
        () -> {
          vmaxps(HIGH, HIGH, X);
          vminps(LOW, LOW, X);
        });
    vsubps(Q, ZERO, LOW);
    vcmpps(K1, Q, HIGH, Comparison.LESS);
    vmovaps(LOW.masked(K1), HIGH);
    vmulps(LOW, LOW, PER_LEAST);
  }

  private void findScale() {
    vmovaps(BEST, NOT_A_NUMBER);
    vmovaps(BEST_ERROR, INFINITY);
    mov(RDX, RSI);
    mov(EBX, Int4Quantizer.FACTORS);
    Label factor = here();
    vmulps(SCALE, LOW, at(RDX).broadcasted());
    vcvtps2ph(HALVES.ymm(), SCALE, NEAREST);
    vcvtph2ps(SCALE, HALVES.ymm());
    findInverse(SCALE);
    vmovaps(ERROR, ZERO);
    each(
        () -> {
          round();
          vmulps(Q, SCALE, Q);
          vsubps(Q, X, Q);
          vfmadd231ps(ERROR, Q, Q);
        });
    vcmpps(K1, ERROR, BEST_ERROR, Comparison.LESS);
    vmovaps(BEST_ERROR.masked(K1), ERROR);
    vmovaps(BEST.masked(K1), SCALE);
    add(RDX, Float.BYTES);
    dec(EBX);
    jne(factor);
  }

  /** 0 of 0. */
  private void findInverse(Vector scale) {
    vdivps(INVERSE, ONE, scale);
    vcmpps(K1, scale, ZERO, Comparison.EQUAL);
    vmovaps(INVERSE.masked(K1), ZERO);
  }

  /** Makes q of x. */
  private void round() {
    vmulps(Q, X, INVERSE);
    vaddps(Q, Q, ROUND);
    vsubps(Q, Q, ROUND);
    vmaxps(Q, Q, LEAST);
    vminps(Q, Q, MOST);
  }

  private void pack() {
    int together = WeightFormat.INT4.inputsTogether();
    mov(RAX, RDI);
    mov(R11, RCX);
    mov(RDX, R8);
    Label step = here();
    vmovaps(ALL, ZERO);
    for (int i = 0; i < together; i++) {
      vmovups(X, at(RAX, i * STEP_BYTES));
      round();
      vaddps(Q, Q, ROUND);
      vpaddd(Q, Q, TO_NUMBER);
      vpslld(Q, Q, WeightFormat.INT4.shift(i));
      vpord(ALL, ALL, Q);
    }
    vmovups(at(RDX), ALL);
    add(RAX, together * STEP_BYTES);
    add(RDX, STEP_BYTES);
    sub(R11, together);
    jne(step);
  }
}
