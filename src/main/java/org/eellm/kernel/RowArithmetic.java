package org.eellm.kernel;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/** Residuals, biases and activation functions on a few numbers of a row. */
public final class RowArithmetic {
  private static final FloatVector ONE = Lanes.broadcast(1);
  private static final FloatVector HALF = Lanes.broadcast(0.5f);
  private static final float SQRT_HALF = 0.70710678f;
  private static final float SQRT_2_OVER_PI = 0.79788456f;
  private static final float CUBE = 0.044715f;

  private RowArithmetic() {}

  /** Copies float32 numbers. */
  static void copy(long x, long to, int count) {
    int whole = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < whole; i += Lanes.WIDTH) {
      Lanes.storeFloats(Lanes.loadFloats(x + 4L * i), to + 4L * i);
    }
    for (int i = whole; i < count; i++) {
      Lanes.putFloat(Lanes.getFloat(x + 4L * i), to + 4L * i);
    }
  }

  /** Reads float32 numbers into an array. */
  public static void read(long x, float[] to, int at, int count) {
    int whole = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < whole; i += Lanes.WIDTH) {
      Lanes.loadFloats(x + 4L * i).intoArray(to, at + i);
    }
    for (int i = whole; i < count; i++) {
      to[at + i] = Lanes.getFloat(x + 4L * i);
    }
  }

  /** Turns pairs (a, b) of numbers: to (a cos - b sin, b cos + a sin). */
  public static void turn(
      float[] x, int first, int second, float[] cosines, float[] sines, int from, int count) {
    int whole = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < whole; i += Lanes.WIDTH) {
      FloatVector cos = FloatVector.fromArray(Lanes.FLOATS, cosines, from + i);
      FloatVector sin = FloatVector.fromArray(Lanes.FLOATS, sines, from + i);
      FloatVector a = FloatVector.fromArray(Lanes.FLOATS, x, first + i);
      FloatVector b = FloatVector.fromArray(Lanes.FLOATS, x, second + i);
      a.mul(cos).sub(b.mul(sin)).intoArray(x, first + i);
      b.mul(cos).add(a.mul(sin)).intoArray(x, second + i);
    }
    for (int i = whole; i < count; i++) {
      float cos = cosines[from + i];
      float sin = sines[from + i];
      float a = x[first + i];
      float b = x[second + i];
      x[first + i] = a * cos - b * sin;
      x[second + i] = b * cos + a * sin;
    }
  }

  /** Adds float32 numbers to others. */
  public static void add(long x, long to, int count) {
    int whole = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < whole; i += Lanes.WIDTH) {
      Lanes.storeFloats(
          Lanes.loadFloats(to + 4L * i).add(Lanes.loadFloats(x + 4L * i)), to + 4L * i);
    }
    for (int i = whole; i < count; i++) {
      Lanes.putFloat(Lanes.getFloat(to + 4L * i) + Lanes.getFloat(x + 4L * i), to + 4L * i);
    }
  }

  /** Adds float32 numbers of an array to others. */
  public static void add(float[] x, int from, long to, int count) {
    int whole = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < whole; i += Lanes.WIDTH) {
      Lanes.storeFloats(
          Lanes.loadFloats(to + 4L * i).add(FloatVector.fromArray(Lanes.FLOATS, x, from + i)),
          to + 4L * i);
    }
    for (int i = whole; i < count; i++) {
      Lanes.putFloat(Lanes.getFloat(to + 4L * i) + x[from + i], to + 4L * i);
    }
  }

  // What follows takes whole blocks of outputs, of which there are a multiple of all widths.

  /** {@code silu(gate) * up}. */
  public static void swiGlu(long gate, long up, float[] out) {
    for (int i = 0; i < PackedMatrix.BLOCK; i += Lanes.WIDTH) {
      FloatVector x = Lanes.loadFloats(gate + 4L * i);
      x.mul(Lanes.sigmoid(x)).mul(Lanes.loadFloats(up + 4L * i)).intoArray(out, i);
    }
  }

  /** {@code x / 2 (1 + erf(x / sqrt(2)))}. */
  public static void gelu(long x, float[] out) {
    for (int i = 0; i < PackedMatrix.BLOCK; i += Lanes.WIDTH) {
      FloatVector v = Lanes.loadFloats(x + 4L * i);
      v.mul(HALF).mul(erf(v.mul(SQRT_HALF)).add(ONE)).intoArray(out, i);
    }
  }

  /**
   * The error function within 1.5e-7 (Abramowitz and Stegun, Handbook of Mathematical Functions,
   * 7.1.26).
   */
  private static FloatVector erf(FloatVector x) {
    FloatVector size = x.abs();
    FloatVector t = ONE.div(size.mul(0.3275911f).add(ONE));
    FloatVector p =
        Lanes.broadcast(1.061405429f)
            .fma(t, Lanes.broadcast(-1.453152027f))
            .fma(t, Lanes.broadcast(1.421413741f))
            .fma(t, Lanes.broadcast(-0.284496736f))
            .fma(t, Lanes.broadcast(0.254829592f))
            .mul(t);
    FloatVector positive = ONE.sub(p.mul(Lanes.expOfNegative(size.mul(size).neg())));
    return positive.blend(positive.neg(), x.compare(VectorOperators.LT, 0));
  }

  /** {@code x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))}. */
  public static void geluTanh(long x, float[] out) {
    for (int i = 0; i < PackedMatrix.BLOCK; i += Lanes.WIDTH) {
      FloatVector v = Lanes.loadFloats(x + 4L * i);
      FloatVector inner = v.mul(v).mul(v).mul(CUBE).add(v).mul(2 * SQRT_2_OVER_PI);
      v.mul(Lanes.sigmoid(inner)).intoArray(out, i); // (1 + tanh(u)) / 2 = sigmoid(2 u)
    }
  }
}
