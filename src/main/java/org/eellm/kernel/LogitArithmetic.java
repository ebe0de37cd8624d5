package org.eellm.kernel;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/** Figures of logits in a row, float32. */
public final class LogitArithmetic {
  private LogitArithmetic() {}

  /** The largest; NaN if there is one. */
  public static float max(long row, int count) {
    FloatVector vectors = Lanes.broadcast(Float.NEGATIVE_INFINITY);
    int whole = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < whole; i += Lanes.WIDTH) {
      vectors = vectors.max(Lanes.loadFloats(row + 4L * i));
    }
    float max = vectors.reduceLanes(VectorOperators.MAX);
    for (int i = whole; i < count; i++) {
      max = Math.max(max, Lanes.getFloat(row + 4L * i));
    }
    return max;
  }

  /** The first place of a value; 0 if there is none, as of NaN. */
  public static int place(float value, long row, int count) {
    int whole = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < whole; i += Lanes.WIDTH) {
      VectorMask<Float> equal = Lanes.loadFloats(row + 4L * i).compare(VectorOperators.EQ, value);
      if (equal.anyTrue()) {
        return i + equal.firstTrue();
      }
    }
    for (int i = whole; i < count; i++) {
      if (Lanes.getFloat(row + 4L * i) == value) {
        return i;
      }
    }
    return 0;
  }

  /** The sum of {@code exp((z - max) factor)}, in a fixed order. */
  public static float sumOfExponentials(long row, int count, float max, float factor) {
    FloatVector sums = FloatVector.zero(Lanes.FLOATS);
    int whole = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < whole; i += Lanes.WIDTH) {
      sums = sums.add(Lanes.expOfNegative(Lanes.loadFloats(row + 4L * i).sub(max).mul(factor)));
    }
    float sum = Lanes.sum(sums);
    for (int i = whole; i < count; i++) {
      sum += (float) Math.exp((Lanes.getFloat(row + 4L * i) - max) * factor);
    }
    return sum;
  }

  /** Copies a row's first numbers. */
  public static void read(long row, float[] to) {
    MemorySegment.copy(
        MemorySegment.ofAddress(row).reinterpret(4L * to.length),
        ValueLayout.JAVA_FLOAT,
        0,
        to,
        0,
        to.length);
  }
}
