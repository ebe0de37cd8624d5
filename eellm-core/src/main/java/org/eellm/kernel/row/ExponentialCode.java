package org.eellm.kernel.row;

import org.eellm.kernel.assembler.Assembler;
import org.eellm.kernel.assembler.Vector;

/**
 * Writes a function with exponentials, by the polynomial of {@link
 * org.eellm.kernel.vector.Lanes#exp} and in its order. They use vector registers 0 to 5 and 16 to
 * 30.
 */
public abstract class ExponentialCode extends Assembler {
  protected static final Vector X = vector(0);

  /** The power of two that {@link #P} is yet to be multiplied with. */
  protected static final Vector SHIFTED = vector(1);

  private static final Vector N = vector(2);
  private static final Vector R = vector(3);

  /** The polynomial's value. */
  protected static final Vector P = vector(4);

  /** For the caller. */
  protected static final Vector FREE = vector(5);

  // Constants.
  protected static final Vector LOWEST = vector(16);
  protected static final Vector HIGHEST = vector(17);
  protected static final Vector ONE = vector(18);
  protected static final Vector MINUS_INFINITY = vector(19);
  private static final Vector LOG2_E = vector(20);
  private static final Vector ROUND = vector(21);
  private static final Vector LN_2_HIGH = vector(22);
  private static final Vector LN_2_LOW = vector(23);
  private static final Vector EXPONENT = vector(24);
  private static final Vector COEFFICIENTS = vector(25); // the highest first

  private static final float[] POLYNOMIAL = {
    1.9875691500e-4f,
    1.3981999507e-3f,
    8.3334519073e-3f,
    4.1665795894e-2f,
    1.6666665459e-1f,
    5.0000001201e-1f
  };

  protected ExponentialCode(int vectorBits) {
    super(vectorBits);
  }

  /** Fills the registers of constants; may change rax. */
  protected final void exponentialConstants() {
    fillFloats(LOWEST, -87.3f);
    fillFloats(HIGHEST, 88.3f);
    fillFloats(ONE, 1);
    fillFloats(MINUS_INFINITY, Float.NEGATIVE_INFINITY);
    fillFloats(LOG2_E, 1.44269504f);
    fillFloats(ROUND, 12582912f);
    fillFloats(LN_2_HIGH, -0.693359375f);
    fillFloats(LN_2_LOW, 2.12194440e-4f);
    fillInts(EXPONENT, 127 - 0x4B400000);
    for (int i = 0; i < POLYNOMIAL.length; i++) {
      fillFloats(COEFFICIENTS.plus(i), POLYNOMIAL[i]);
    }
  }

  /** {@code e^X} of an argument within bounds: P times what is in SHIFTED. */
  protected final void exponential() {
    vmovaps(SHIFTED, X);
    vfmadd213ps(SHIFTED, LOG2_E, ROUND);
    vsubps(N, SHIFTED, ROUND);
    vmovaps(R, N);
    vfmadd213ps(R, LN_2_HIGH, X);
    vfmadd231ps(R, N, LN_2_LOW);
    vmovaps(P, COEFFICIENTS);
    for (int i = 1; i < POLYNOMIAL.length; i++) {
      vfmadd213ps(P, R, COEFFICIENTS.plus(i));
    }
    vmulps(N, R, R);
    vfmadd213ps(P, N, R);
    vaddps(P, P, ONE);
    vpaddd(SHIFTED, SHIFTED, EXPONENT);
    vpslld(SHIFTED, SHIFTED, 23);
  }

  /** Makes P one over one and the exponential of X, within bounds. */
  protected final void sigmoidOfNegative() {
    vmaxps(X, LOWEST, X); // NaN stays
    vminps(X, HIGHEST, X);
    exponential();
    vmulps(P, P, SHIFTED);
    vaddps(P, P, ONE);
    vdivps(P, ONE, P);
  }
}
