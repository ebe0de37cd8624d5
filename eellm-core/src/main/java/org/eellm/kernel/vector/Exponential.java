package org.eellm.kernel.vector;

/** {@code e^x} in plain Java, by the polynomial of {@link Lanes#exp} and in its order. */
public final class Exponential {
  private static final float LOWEST = -87.3f;
  private static final float HIGHEST = 88.3f;
  private static final float LOG2_E = 1.44269504f;
  private static final float ROUND = 12582912f; // 1.5 * 2^23: what is added to it has no fraction
  private static final int ROUND_BITS = 0x4B400000;
  private static final float LN_2_HIGH = -0.693359375f;
  private static final float LN_2_LOW = 2.12194440e-4f;

  private Exponential() {}

  /** Of a number, which counts as one from -87.3 to 88.3; NaN stays NaN. */
  public static float of(float number) {
    float x = number < LOWEST ? LOWEST : number > HIGHEST ? HIGHEST : number;
    float shifted = Math.fma(x, LOG2_E, ROUND);
    float n = shifted - ROUND;
    float r = Math.fma(n, LN_2_LOW, Math.fma(n, LN_2_HIGH, x));
    float p = 1.9875691500e-4f;
    p = Math.fma(p, r, 1.3981999507e-3f);
    p = Math.fma(p, r, 8.3334519073e-3f);
    p = Math.fma(p, r, 4.1665795894e-2f);
    p = Math.fma(p, r, 1.6666665459e-1f);
    p = Math.fma(p, r, 5.0000001201e-1f);
    int power = Float.floatToRawIntBits(shifted) + 127 - ROUND_BITS << 23;
    return (Math.fma(p, r * r, r) + 1) * Float.intBitsToFloat(power);
  }

  /** {@code 1 / (1 + e^-x)} of the negative of a number, which is bounded as {@link #of} does. */
  public static float sigmoidOfNegative(float number) {
    return 1 / (of(number) + 1);
  }

  /** {@code cap tanh(number / cap)}, by {@code tanh(u) = 2 sigmoid(2 u) - 1}. */
  public static float softcap(float number, float cap) {
    return sigmoidOfNegative(number * (-2 / cap)) * (2 * cap) - cap;
  }
}
