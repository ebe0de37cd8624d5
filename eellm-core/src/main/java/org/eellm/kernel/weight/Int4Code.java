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
 * {@link Int4Quantizer}'s rounding of a group, as machine code for x86-64 processors with AVX-512
 * or AVX2: the same scales, and the same numbers wherever the scale is not NaN; the sign of zero
 * aside. A model is rounded when a process has just started, and Java's takes seconds to become
 * fast.
 *
 * <p>{@code void f(float[] tile, float[] factors, float[], long group, long to, long scales)}, by
 * the System V convention, takes vectors of outputs one after the other.
 */
final class Int4Code extends Assembler {
  private static final int STEP_BYTES = 4 * PackedMatrix.BLOCK;
  private static final int NEAREST = 0; // how to round: ties to even

  // Vector registers.
  private static final Vector HIGH = vector(0);
  private static final Vector LOW = vector(1); // then the scale that cuts nothing off
  private static final Vector X = vector(2);
  private static final Vector Q = vector(3);
  private static final Vector SCALE = vector(4);
  private static final Vector INVERSE = vector(5);
  private static final Vector ERROR = vector(6);
  private static final Vector BEST = vector(7);
  private static final Vector BEST_ERROR = vector(8);
  private static final Vector ALL = vector(9); // that lie together
  private static final Vector HALVES = vector(10);
  private static final Vector ROUND = vector(16); // and other constants
  private static final Vector LEAST = vector(17);
  private static final Vector MOST = vector(18);
  private static final Vector ONE = vector(19);
  private static final Vector ZERO = vector(20);
  private static final Vector PER_LEAST = vector(21);
  private static final Vector TO_NUMBER = vector(22);
  private static final Vector NOT_A_NUMBER = vector(23);
  private static final Vector INFINITY = vector(24);

  /** None where it cannot be used. */
  private static final Optional<NativeFunction> FUNCTION =
      ExecutableMemory.storeWidest(Int4Code::code);

  private Int4Code(int vectorBits) {
    super(vectorBits);
  }

  static MachineCode code(int vectorBits) {
    return new Int4Code(vectorBits).write();
  }

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
    mov(R10D, STEP_BYTES / vectorBytes());
    Label vector = here();
    findWhole();
    findScale();
    findInverse(BEST);
    pack();
    vcvtps2ph(at(R9), BEST, NEAREST);
    add(RDI, vectorBytes());
    add(R8, vectorBytes());
    add(R9, vectorBytes() / 2);
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
    compare(K1, Q, HIGH, Comparison.LESS);
    masked(K1, LOW, to -> vmovaps(to, HIGH));
    vmulps(LOW, LOW, PER_LEAST);
  }

  private void findScale() {
    vmovaps(BEST, NOT_A_NUMBER);
    vmovaps(BEST_ERROR, INFINITY);
    mov(RDX, RSI);
    mov(EBX, Int4Quantizer.FACTORS);
    Label factor = here();
    vmulps(SCALE, LOW, broadcasted(at(RDX), INVERSE));
    vcvtps2ph(half(HALVES), SCALE, NEAREST);
    vcvtph2ps(SCALE, half(HALVES));
    findInverse(SCALE);
    vmovaps(ERROR, ZERO);
    each(
        () -> {
          round();
          vmulps(Q, SCALE, Q);
          vsubps(Q, X, Q);
          vfmadd231ps(ERROR, Q, Q);
        });
    compare(K1, ERROR, BEST_ERROR, Comparison.LESS);
    masked(K1, BEST_ERROR, to -> vmovaps(to, ERROR));
    masked(K1, BEST, to -> vmovaps(to, SCALE));
    add(RDX, Float.BYTES);
    dec(EBX);
    jne(factor);
  }

  /** 0 of 0. */
  private void findInverse(Vector scale) {
    vdivps(INVERSE, ONE, scale);
    compare(K1, scale, ZERO, Comparison.EQUAL);
    masked(K1, INVERSE, to -> vmovaps(to, ZERO));
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
