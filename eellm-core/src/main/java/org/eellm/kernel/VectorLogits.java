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
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import org.eellm.kernel.vector.Lanes;
import org.eellm.kernel.vector.NativeNumbers;

/** {@link LogitArithmetic} by the Vector API. Written out (see {@link Lanes}). */
final class VectorLogits {
  // Of exp: see Lanes.
  private static final float LOWEST = -87.3f;
  private static final float LOG2_E = 1.44269504f;
  private static final float ROUND = 12582912f;
  private static final float LN_2_HIGH = -0.693359375f;
  private static final float LN_2_LOW = 2.12194440e-4f;

  private VectorLogits() {}

  static float max(long row, int count) {
    int whole = count - count % WIDTH;
    int eights = count - count % (8 * WIDTH);
    FloatVector a = FloatVector.broadcast(FLOATS, Float.NEGATIVE_INFINITY);
    FloatVector b = a;
    FloatVector c = a;
    FloatVector d = a;
    for (int i = 0; i < eights; i += 8 * WIDTH) {
      long at = row + 4L * i;
      a = a.max(FloatVector.fromMemorySegment(FLOATS, MEMORY, at, ORDER));
      b = b.max(FloatVector.fromMemorySegment(FLOATS, MEMORY, at + BYTES, ORDER));
      c = c.max(FloatVector.fromMemorySegment(FLOATS, MEMORY, at + 2L * BYTES, ORDER));
      d = d.max(FloatVector.fromMemorySegment(FLOATS, MEMORY, at + 3L * BYTES, ORDER));
      at += 4L * BYTES;
      a = a.max(FloatVector.fromMemorySegment(FLOATS, MEMORY, at, ORDER));
      b = b.max(FloatVector.fromMemorySegment(FLOATS, MEMORY, at + BYTES, ORDER));
      c = c.max(FloatVector.fromMemorySegment(FLOATS, MEMORY, at + 2L * BYTES, ORDER));
      d = d.max(FloatVector.fromMemorySegment(FLOATS, MEMORY, at + 3L * BYTES, ORDER));
    }
    for (int i = eights; i < whole; i += WIDTH) {
      a = a.max(FloatVector.fromMemorySegment(FLOATS, MEMORY, row + 4L * i, ORDER));
    }
    float max = a.max(b).max(c.max(d)).reduceLanes(VectorOperators.MAX);
    for (int i = whole; i < count; i++) {
      max = Math.max(max, NativeNumbers.getFloat(row + 4L * i));
    }
    return max;
  }

  static int place(float value, long row, int count) {
    int eights = count - count % (8 * WIDTH);
    int from = 0;
    for (; from < eights; from += 8 * WIDTH) {
      long at = row + 4L * from;
      FloatVector v = FloatVector.broadcast(FLOATS, value);
      VectorMask<Float> found =
          v.compare(VectorOperators.EQ, FloatVector.fromMemorySegment(FLOATS, MEMORY, at, ORDER));
      at += BYTES;
      found =
          found.or(
              v.compare(
                  VectorOperators.EQ, FloatVector.fromMemorySegment(FLOATS, MEMORY, at, ORDER)));
      at += BYTES;
      found =
          found.or(
              v.compare(
                  VectorOperators.EQ, FloatVector.fromMemorySegment(FLOATS, MEMORY, at, ORDER)));
      at += BYTES;
      found =
          found.or(
              v.compare(
                  VectorOperators.EQ, FloatVector.fromMemorySegment(FLOATS, MEMORY, at, ORDER)));
      at += BYTES;
      found =
          found.or(
              v.compare(
                  VectorOperators.EQ, FloatVector.fromMemorySegment(FLOATS, MEMORY, at, ORDER)));
      at += BYTES;
      found =
          found.or(
              v.compare(
                  VectorOperators.EQ, FloatVector.fromMemorySegment(FLOATS, MEMORY, at, ORDER)));
      at += BYTES;
      found =
          found.or(
              v.compare(
                  VectorOperators.EQ, FloatVector.fromMemorySegment(FLOATS, MEMORY, at, ORDER)));
      at += BYTES;
      found =
          found.or(
              v.compare(
                  VectorOperators.EQ, FloatVector.fromMemorySegment(FLOATS, MEMORY, at, ORDER)));
      if (found.anyTrue()) {
        break;
      }
    }
    return LogitArithmetic.placeFrom(from, value, row, count);
  }

  /** Of whole vectors. */
  static float sumOfExponentials(long row, int whole, float max, float factor) {
    FloatVector sums = FloatVector.zero(FLOATS);
    for (int i = 0; i < whole; i += WIDTH) {
      FloatVector z =
          FloatVector.fromMemorySegment(FLOATS, MEMORY, row + 4L * i, ORDER).sub(max).mul(factor);
      z = z.blend(LOWEST, z.compare(VectorOperators.LT, LOWEST));
      FloatVector shifted =
          z.fma(FloatVector.broadcast(FLOATS, LOG2_E), FloatVector.broadcast(FLOATS, ROUND));
      FloatVector n = shifted.sub(ROUND);
      FloatVector r =
          n.fma(
              FloatVector.broadcast(FLOATS, LN_2_LOW),
              n.fma(FloatVector.broadcast(FLOATS, LN_2_HIGH), z));
      FloatVector p = FloatVector.broadcast(FLOATS, 1.9875691500e-4f);
      p = p.fma(r, FloatVector.broadcast(FLOATS, 1.3981999507e-3f));
      p = p.fma(r, FloatVector.broadcast(FLOATS, 8.3334519073e-3f));
      p = p.fma(r, FloatVector.broadcast(FLOATS, 4.1665795894e-2f));
      p = p.fma(r, FloatVector.broadcast(FLOATS, 1.6666665459e-1f));
      p = p.fma(r, FloatVector.broadcast(FLOATS, 5.0000001201e-1f));
      FloatVector power =
          shifted
              .reinterpretAsInts()
              .add(127 - 0x4B400000)
              .lanewise(VectorOperators.LSHL, 23)
              .reinterpretAsFloats();
      sums = sums.add(p.fma(r.mul(r), r).add(1).mul(power));
    }
    sums = sums.add(sums.rearrange(TURN_1));
    sums = sums.add(sums.rearrange(TURN_2));
    if (WIDTH > 4) {
      sums = sums.add(sums.rearrange(TURN_4));
    }
    if (WIDTH > 8) {
      sums = sums.add(sums.rearrange(TURN_8));
    }
    return sums.lane(0);
  }
}
