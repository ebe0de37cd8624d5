package org.eellm.kernel;

import static org.eellm.kernel.vector.Lanes.BYTES;
import static org.eellm.kernel.vector.Lanes.FLOATS;
import static org.eellm.kernel.vector.Lanes.MEMORY;
import static org.eellm.kernel.vector.Lanes.ORDER;
import static org.eellm.kernel.vector.Lanes.TURN_1;
import static org.eellm.kernel.vector.Lanes.TURN_2;
import static org.eellm.kernel.vector.Lanes.TURN_4;
import static org.eellm.kernel.vector.Lanes.TURN_8;
import static org.eellm.kernel.vector.Lanes.WIDTH;

import jdk.incubator.vector.FloatVector;
import org.eellm.kernel.machine.RowFunctions;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.Lanes;

/**
 * Norms of one row; sums in a fixed order, so that results never change. Each is written out (see
 * {@link Lanes}).
 */
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
    } else if (RowFunctions.work()) {
      RowFunctions.rms(x, weight, epsilon, out);
    } else {
      rmsByVectors(x, weight.values(), epsilon, out.values());
    }
  }

  private static void rmsOneByOne(long x, float[] weight, double epsilon, float[] out) {
    float sum = 0;
    for (int i = 0; i < weight.length; i++) {
      float v = Lanes.getFloat(x + 4L * i);
      sum = Math.fma(v, v, sum);
    }
    float factor = inverse(sum / weight.length, epsilon);
    for (int i = 0; i < weight.length; i++) {
      out[i] = Lanes.getFloat(x + 4L * i) * factor * weight[i];
    }
  }

  static void rmsByVectors(long x, float[] weight, double epsilon, float[] out) {
    int n = weight.length;
    int fours = n - n % (4 * WIDTH);
    FloatVector a = FloatVector.zero(FLOATS);
    FloatVector b = a;
    FloatVector c = a;
    FloatVector d = a;
    for (int i = 0; i < fours; i += 4 * WIDTH) {
      long at = x + 4L * i;
      FloatVector v = FloatVector.fromMemorySegment(FLOATS, MEMORY, at, ORDER);
      a = v.fma(v, a);
      v = FloatVector.fromMemorySegment(FLOATS, MEMORY, at + BYTES, ORDER);
      b = v.fma(v, b);
      v = FloatVector.fromMemorySegment(FLOATS, MEMORY, at + 2L * BYTES, ORDER);
      c = v.fma(v, c);
      v = FloatVector.fromMemorySegment(FLOATS, MEMORY, at + 3L * BYTES, ORDER);
      d = v.fma(v, d);
    }
    for (int i = fours; i < n; i += WIDTH) {
      FloatVector v = FloatVector.fromMemorySegment(FLOATS, MEMORY, x + 4L * i, ORDER);
      a = v.fma(v, a);
    }
    a = a.add(b).add(c.add(d));
    a = a.add(a.rearrange(TURN_1));
    a = a.add(a.rearrange(TURN_2));
    if (WIDTH > 4) {
      a = a.add(a.rearrange(TURN_4));
    }
    if (WIDTH > 8) {
      a = a.add(a.rearrange(TURN_8));
    }
    float factor = inverse(a.lane(0) / n, epsilon);
    for (int i = 0; i < n; i += WIDTH) {
      FloatVector.fromMemorySegment(FLOATS, MEMORY, x + 4L * i, ORDER)
          .mul(factor)
          .mul(FloatVector.fromArray(FLOATS, weight, i))
          .intoArray(out, i);
    }
  }

  /** {@code (x - mean) / sqrt(variance + epsilon) * weight + bias}. */
  public static void layer(
      long x, FloatArray weight, FloatArray bias, double epsilon, FloatArray out) {
    int n = weight.length();
    if (n % WIDTH != 0) {
      layerOneByOne(x, weight.values(), bias.values(), epsilon, out.values());
    } else if (RowFunctions.work()) {
      float mean = RowFunctions.sum(x, n) / n;
      float factor = inverse(RowFunctions.sumOfSquaredDistances(x, n, mean) / n, epsilon);
      RowFunctions.shifted(x, mean, factor, weight, bias, out);
    } else {
      layerByVectors(x, weight.values(), bias.values(), epsilon, out.values());
    }
  }

  private static void layerOneByOne(
      long x, float[] weight, float[] bias, double epsilon, float[] out) {
    int n = weight.length;
    float sum = 0;
    for (int i = 0; i < n; i++) {
      sum += Lanes.getFloat(x + 4L * i);
    }
    float mean = sum / n;
    float squares = 0;
    for (int i = 0; i < n; i++) {
      float v = Lanes.getFloat(x + 4L * i) - mean;
      squares = Math.fma(v, v, squares);
    }
    float factor = inverse(squares / n, epsilon);
    for (int i = 0; i < n; i++) {
      out[i] = Math.fma((Lanes.getFloat(x + 4L * i) - mean) * factor, weight[i], bias[i]);
    }
  }

  static void layerByVectors(long x, float[] weight, float[] bias, double epsilon, float[] out) {
    int n = weight.length;
    FloatVector a = FloatVector.zero(FLOATS);
    for (int i = 0; i < n; i += WIDTH) {
      a = a.add(FloatVector.fromMemorySegment(FLOATS, MEMORY, x + 4L * i, ORDER));
    }
    a = a.add(a.rearrange(TURN_1));
    a = a.add(a.rearrange(TURN_2));
    if (WIDTH > 4) {
      a = a.add(a.rearrange(TURN_4));
    }
    if (WIDTH > 8) {
      a = a.add(a.rearrange(TURN_8));
    }
    float mean = a.lane(0) / n;
    a = FloatVector.zero(FLOATS);
    for (int i = 0; i < n; i += WIDTH) {
      FloatVector v = FloatVector.fromMemorySegment(FLOATS, MEMORY, x + 4L * i, ORDER).sub(mean);
      a = v.fma(v, a);
    }
    a = a.add(a.rearrange(TURN_1));
    a = a.add(a.rearrange(TURN_2));
    if (WIDTH > 4) {
      a = a.add(a.rearrange(TURN_4));
    }
    if (WIDTH > 8) {
      a = a.add(a.rearrange(TURN_8));
    }
    float factor = inverse(a.lane(0) / n, epsilon);
    for (int i = 0; i < n; i += WIDTH) {
      FloatVector.fromMemorySegment(FLOATS, MEMORY, x + 4L * i, ORDER)
          .sub(mean)
          .mul(factor)
          .fma(FloatVector.fromArray(FLOATS, weight, i), FloatVector.fromArray(FLOATS, bias, i))
          .intoArray(out, i);
    }
  }

  private static float inverse(float meanSquare, double epsilon) {
    return (float) (1 / Math.sqrt(meanSquare + epsilon));
  }
}
