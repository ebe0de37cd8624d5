package org.eellm.kernel.row;

import org.eellm.kernel.assembler.Comparison;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.assembler.Vector;
import org.eellm.kernel.vector.SplitMix;

/**
 * Machine code for drawing a token: what has to look at each id of a vocabulary. Arrays are whole
 * vectors.
 */
final class SamplingCode extends RowAssembler {
  // Constants.
  private static final Vector CONSTANTS = vector(16);

  /** Of 2 to the power of x: {@code (x log(2) / 128)^n / n!}, the highest n first. */
  private static final double[] POLYNOMIAL = {
    1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 1.0 / 2, 1, 1
  };

  private final int halfBytes = vectorBytes() / 2;

  SamplingCode(int vectorBits) {
    super(vectorBits);
  }

  /** {@code x = (x - max) factor}: {@code f(x, x, x, vectors, factor)}; the max's first place. */
  MachineCode scaling() {
    fillFloats(A, Float.NEGATIVE_INFINITY);
    broadcast(C, R8D);
    mov(RSI, RCX);
    Label largest = here();
    vmaxps(A, A, at(RDI));
    nextVector(largest);
    reduce(this::vmaxps, A, B);
    mov(RDI, RDX);
    mov(RSI, RCX);
    Label scale = here();
    vmovups(B, at(RDI));
    vsubps(B, B, A);
    vmulps(B, B, C);
    vmovups(at(RDI), B);
    nextVector(scale);
    mov(RDI, RDX);
    mov(RSI, RCX);
    vpxord(A, A, A);
    return endWithPlace();
  }

  /**
   * 2 to the power of each: {@code f(powers, out, out, halves)}, with vectors of doubles.
   *
   * <p>e to the power of x is the 128th power of that of x / 128, for which a few terms are enough.
   */
  MachineCode powersOfTwo() {
    Vector lowest = CONSTANTS;
    Vector step = CONSTANTS.plus(1);
    Vector coefficients = CONSTANTS.plus(2);
    fillDoubles(lowest, RowKernel.LOWEST_POWER);
    fillDoubles(step, Math.log(2) / 128);
    for (int i = 0; i < POLYNOMIAL.length; i++) {
      fillDoubles(coefficients.plus(i), POLYNOMIAL[i]);
    }
    mov(EAX, (1 << lanes() / 2) - 1);
    maskOf(MASK, EAX);
    Label start = here();
    vcvtps2pd(A, at(RDI));
    vmaxpd(A, A, lowest);
    vmulpd(A, A, step);
    vmovaps(B, coefficients);
    for (int i = 1; i < POLYNOMIAL.length; i++) { // two roundings, as in Java
      vmulpd(B, B, A);
      vaddpd(B, B, coefficients.plus(i));
    }
    for (int power = 2; power <= 128; power *= 2) {
      vmulpd(B, B, B);
    }
    vcvtpd2ps(half(B), B);
    store(MASK, at(RSI), B);
    add(RDI, halfBytes);
    add(RSI, halfBytes);
    dec(RCX);
    jne(start);
    return end();
  }

  /**
   * A bit for each id: whether the zeros at the beginning of its random number, {@link
   * SplitMix#mixed}, and its power are together above a bound. {@code f(ids, powers, marks,
   * vectors, bytes before, key, bound)}. For AVX-512 alone: AVX2 has no products of 64 bits, and
   * counts no zeros.
   */
  MachineCode marking() {
    Vector key = CONSTANTS;
    Vector bound = CONSTANTS.plus(1);
    Vector golden = CONSTANTS.plus(2);
    Vector firstFactor = CONSTANTS.plus(3);
    Vector secondFactor = CONSTANTS.plus(4);
    mov(EAX, parameter(7));
    broadcast(bound, EAX);
    vpbroadcastq(key, R9);
    fillLongs(golden, SplitMix.GOLDEN);
    fillLongs(firstFactor, SplitMix.FIRST_FACTOR);
    fillLongs(secondFactor, SplitMix.SECOND_FACTOR);
    add(RDI, R8);
    add(RSI, R8);
    Label start = here();
    for (int half = 0; half < 2; half++) {
      vpmovsxdq(A, at(RDI, half * halfBytes));
      vpmullq(A, A, golden);
      vpaddq(A, A, key);
      mix(30);
      vpmullq(A, A, firstFactor);
      mix(27);
      vpmullq(A, A, secondFactor);
      mix(31);
      vplzcntq(A, A);
      vpmovqd(half(half == 0 ? C : A), A);
    }
    vinserti64x4(A, C, half(A), 1); // the upper
    vcvtdq2ps(A, A);
    vaddps(A, A, at(RSI));
    compare(MASK, A, bound, Comparison.GREATER);
    bitsOf(EAX, MASK);
    mov(at(RDX), AX);
    add(RDI, vectorBytes());
    add(RSI, vectorBytes());
    add(RDX, Short.BYTES);
    dec(RCX);
    jne(start);
    return end();
  }

  /** {@code A = A ^ A >>> bits}. */
  private void mix(int bits) {
    vpsrlq(B, A, bits);
    vpxord(A, A, B);
  }
}
