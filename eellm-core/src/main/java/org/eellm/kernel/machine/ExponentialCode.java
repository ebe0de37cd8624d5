package org.eellm.kernel.machine;

import org.eellm.kernel.machine.MachineCode.Operation;

/**
 * Writes exponentials, by the polynomial of {@link org.eellm.kernel.vector.Lanes#exp} and in its
 * order. Uses vector registers 0 to 5 and 16 to 30.
 */
public record ExponentialCode(MachineCode code) {
  /** The argument. */
  public static final int X = 0;

  /** The power of two that {@link #P} is yet to be multiplied with. */
  public static final int SHIFTED = 1;

  private static final int N = 2;
  private static final int R = 3;

  /** The polynomial's value. */
  public static final int P = 4;

  /** For the caller. */
  public static final int FREE = 5;

  // Constants.
  public static final int LOWEST = 16;
  public static final int HIGHEST = 17;
  public static final int ONE = 18;
  public static final int MINUS_INFINITY = 19;
  private static final int LOG2_E = 20;
  private static final int ROUND = 21;
  private static final int LN_2_HIGH = 22;
  private static final int LN_2_LOW = 23;
  private static final int EXPONENT = 24;
  private static final int COEFFICIENTS = 25; // the highest first

  private static final float[] POLYNOMIAL = {
    1.9875691500e-4f,
    1.3981999507e-3f,
    8.3334519073e-3f,
    4.1665795894e-2f,
    1.6666665459e-1f,
    5.0000001201e-1f
  };

  /** Fills the registers of constants; changes rax. */
  public void constants() {
    constant(LOWEST, -87.3f);
    constant(HIGHEST, 88.3f);
    constant(ONE, 1);
    constant(MINUS_INFINITY, Float.NEGATIVE_INFINITY);
    constant(LOG2_E, 1.44269504f);
    constant(ROUND, 12582912f);
    constant(LN_2_HIGH, -0.693359375f);
    constant(LN_2_LOW, 2.12194440e-4f);
    code.constant(EXPONENT, 127 - 0x4B400000);
    for (int i = 0; i < POLYNOMIAL.length; i++) {
      constant(COEFFICIENTS + i, POLYNOMIAL[i]);
    }
  }

  private void constant(int to, float number) {
    code.constant(to, Float.floatToRawIntBits(number));
  }

  /** {@code e^X} of an argument within bounds: P times what is in SHIFTED. */
  public void write() {
    code.vector(Operation.MOVE, SHIFTED, 0, X);
    code.vector(Operation.MULTIPLY_ADD, SHIFTED, LOG2_E, ROUND);
    code.vector(Operation.SUBTRACT, N, SHIFTED, ROUND);
    code.vector(Operation.MOVE, R, 0, N);
    code.vector(Operation.MULTIPLY_ADD, R, LN_2_HIGH, X);
    code.vector(Operation.ADD_PRODUCT, R, N, LN_2_LOW);
    code.vector(Operation.MOVE, P, 0, COEFFICIENTS);
    for (int i = 1; i < POLYNOMIAL.length; i++) {
      code.vector(Operation.MULTIPLY_ADD, P, R, COEFFICIENTS + i);
    }
    code.vector(Operation.MULTIPLY, N, R, R);
    code.vector(Operation.MULTIPLY_ADD, P, N, R);
    code.vector(Operation.ADD, P, P, ONE);
    code.vector(Operation.ADD_INTS, SHIFTED, SHIFTED, EXPONENT);
    code.shiftLeft(SHIFTED, SHIFTED, 23);
  }
}
