package org.eellm.kernel;

import static org.eellm.kernel.vector.NativeNumbers.WIDTH;

import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeNumbers;

/** Norms of one row; sums in a fixed order, so that results never change. */
public final class Norms {
  private Norms() {}

  /**
   * {@code x / sqrt(mean(x^2) + epsilon) * weight}.
   *
   * @param x address of float32 numbers
   * @param weight as many as the row has
   */
  public static void rms(long x, FloatArray weight, double epsilon, FloatArray out) {
    if (weight.length() % WIDTH != 0) {
      rmsOneByOne(x, weight.values(), epsilon, out.values());
    } else {
      RowKernel.chosen().rms(x, weight, epsilon, out);
    }
  }

  private static void rmsOneByOne(long x, float[] weight, double epsilon, float[] out) {
    float sum = 0;
    for (int i = 0; i < weight.length; i++) {
      float v = NativeNumbers.getFloat(x + 4L * i);
      sum = Math.fma(v, v, sum);
    }
    float factor = inverse(sum / weight.length, epsilon);
    for (int i = 0; i < weight.length; i++) {
      out[i] = NativeNumbers.getFloat(x + 4L * i) * factor * weight[i];
    }
  }

  /** {@code (x - mean) / sqrt(variance + epsilon) * weight + bias}. */
  public static void layer(
      long x, FloatArray weight, FloatArray bias, double epsilon, FloatArray out) {
    if (weight.length() % WIDTH != 0) {
      layerOneByOne(x, weight.values(), bias.values(), epsilon, out.values());
    } else {
      RowKernel.chosen().layer(x, weight, bias, epsilon, out);
    }
  }

  private static void layerOneByOne(
      long x, float[] weight, float[] bias, double epsilon, float[] out) {
    int n = weight.length;
    float sum = 0;
    for (int i = 0; i < n; i++) {
      sum += NativeNumbers.getFloat(x + 4L * i);
    }
    float mean = sum / n;
    float squares = 0;
    for (int i = 0; i < n; i++) {
      float v = NativeNumbers.getFloat(x + 4L * i) - mean;
      squares = Math.fma(v, v, squares);
    }
    float factor = inverse(squares / n, epsilon);
    for (int i = 0; i < n; i++) {
      out[i] = Math.fma((NativeNumbers.getFloat(x + 4L * i) - mean) * factor, weight[i], bias[i]);
    }
  }

  private static float inverse(float meanSquare, double epsilon) {
    return (float) (1 / Math.sqrt(meanSquare + epsilon));
  }
}
