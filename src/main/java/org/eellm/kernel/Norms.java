package org.eellm.kernel;

import jdk.incubator.vector.FloatVector;

/** Norms of one row; sums in a fixed order, so that results never change. */
public final class Norms {
  private Norms() {}

  /**
   * {@code x / sqrt(mean(x^2) + epsilon) * weight}.
   *
   * @param x address of float32 numbers
   * @param weight as many as the row has
   */
  public static void rms(long x, float[] weight, double epsilon, float[] out) {
    int n = weight.length;
    scale(x, weight, inverse(squares(x, n, 0) / n, epsilon), out);
  }

  /** The same of numbers in an array, in place. */
  public static void rms(float[] x, int from, float[] weight, double epsilon) {
    int n = weight.length;
    float sum = 0;
    for (int i = 0; i < n; i++) {
      sum = Math.fma(x[from + i], x[from + i], sum);
    }
    float inverse = inverse(sum / n, epsilon);
    for (int i = 0; i < n; i++) {
      x[from + i] = x[from + i] * inverse * weight[i];
    }
  }

  /** {@code (x - mean) / sqrt(variance + epsilon) * weight + bias}. */
  public static void layer(long x, float[] weight, float[] bias, double epsilon, float[] out) {
    int n = weight.length;
    float mean = sum(x, n) / n;
    float inverse = inverse(squares(x, n, mean) / n, epsilon);
    for (int i = 0; i < n; i++) {
      out[i] = Math.fma((Lanes.getFloat(x + 4L * i) - mean) * inverse, weight[i], bias[i]);
    }
  }

  private static float inverse(float meanSquare, double epsilon) {
    return (float) (1 / Math.sqrt(meanSquare + epsilon));
  }

  private static float sum(long x, int n) {
    FloatVector sums = FloatVector.zero(Lanes.FLOATS);
    int whole = Lanes.FLOATS.loopBound(n);
    for (int i = 0; i < whole; i += Lanes.WIDTH) {
      sums = sums.add(Lanes.loadFloats(x + 4L * i));
    }
    float sum = Lanes.sum(sums);
    for (int i = whole; i < n; i++) {
      sum += Lanes.getFloat(x + 4L * i);
    }
    return sum;
  }

  /** The sum of {@code (x - mean)^2}. */
  private static float squares(long x, int n, float mean) {
    FloatVector sums = FloatVector.zero(Lanes.FLOATS);
    int whole = Lanes.FLOATS.loopBound(n);
    for (int i = 0; i < whole; i += Lanes.WIDTH) {
      FloatVector v = Lanes.loadFloats(x + 4L * i).sub(mean);
      sums = v.fma(v, sums);
    }
    float sum = Lanes.sum(sums);
    for (int i = whole; i < n; i++) {
      float v = Lanes.getFloat(x + 4L * i) - mean;
      sum = Math.fma(v, v, sum);
    }
    return sum;
  }

  private static void scale(long x, float[] weight, float factor, float[] out) {
    int n = weight.length;
    int whole = Lanes.FLOATS.loopBound(n);
    for (int i = 0; i < whole; i += Lanes.WIDTH) {
      Lanes.loadFloats(x + 4L * i)
          .mul(factor)
          .mul(FloatVector.fromArray(Lanes.FLOATS, weight, i))
          .intoArray(out, i);
    }
    for (int i = whole; i < n; i++) {
      out[i] = Lanes.getFloat(x + 4L * i) * factor * weight[i];
    }
  }
}
