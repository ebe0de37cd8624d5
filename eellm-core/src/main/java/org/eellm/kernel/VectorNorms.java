package org.eellm.kernel;

import static org.eellm.kernel.vector.Lanes.FLOATS;
import static org.eellm.kernel.vector.Lanes.TURN_1;
import static org.eellm.kernel.vector.Lanes.TURN_2;
import static org.eellm.kernel.vector.Lanes.TURN_4;
import static org.eellm.kernel.vector.Lanes.TURN_8;
import static org.eellm.kernel.vector.NativeNumbers.BYTES;
import static org.eellm.kernel.vector.NativeNumbers.MEMORY;
import static org.eellm.kernel.vector.NativeNumbers.ORDER;
import static org.eellm.kernel.vector.NativeNumbers.WIDTH;

import jdk.incubator.vector.FloatVector;
import org.eellm.kernel.vector.Lanes;

/**
 * {@link Norms} by the Vector API, of rows of whole vectors. Each is written out (see {@link
 * Lanes}).
 */
final class VectorNorms {
  private VectorNorms() {}

  static void rms(long x, float[] weight, double epsilon, float[] out) {
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
    float factor = Norms.inverse(a.lane(0) / n, epsilon);
    for (int i = 0; i < n; i += WIDTH) {
      FloatVector.fromMemorySegment(FLOATS, MEMORY, x + 4L * i, ORDER)
          .mul(factor)
          .mul(FloatVector.fromArray(FLOATS, weight, i))
          .intoArray(out, i);
    }
  }

  static void layer(long x, float[] weight, float[] bias, double epsilon, float[] out) {
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
    float factor = Norms.inverse(a.lane(0) / n, epsilon);
    for (int i = 0; i < n; i += WIDTH) {
      FloatVector.fromMemorySegment(FLOATS, MEMORY, x + 4L * i, ORDER)
          .sub(mean)
          .mul(factor)
          .fma(FloatVector.fromArray(FLOATS, weight, i), FloatVector.fromArray(FLOATS, bias, i))
          .intoArray(out, i);
    }
  }
}
