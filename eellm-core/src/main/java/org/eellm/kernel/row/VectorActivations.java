package org.eellm.kernel.row;

import static org.eellm.kernel.vector.Lanes.FLOATS;
import static org.eellm.kernel.vector.NativeNumbers.MEMORY;
import static org.eellm.kernel.vector.NativeNumbers.ORDER;
import static org.eellm.kernel.vector.NativeNumbers.WIDTH;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import org.eellm.kernel.vector.Lanes;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.PackedMatrix;

/**
 * Activation functions of a block, and soft caps, by the Vector API, written out (see {@link
 * Lanes}).
 */
final class VectorActivations {
  private static final float SQRT_HALF = 0.70710678f;
  private static final float TWICE_SQRT_2_OVER_PI = 2 * 0.79788456f;
  private static final float CUBE = 0.044715f;

  // Of exp: see Lanes.
  private static final float LOWEST = -87.3f;
  private static final float HIGHEST = 88.3f;
  private static final float LOG2_E = 1.44269504f;
  private static final float ROUND = 12582912f;
  private static final float LN_2_HIGH = -0.693359375f;
  private static final float LN_2_LOW = 2.12194440e-4f;
  private static final float C7 = 1.9875691500e-4f;
  private static final float C6 = 1.3981999507e-3f;
  private static final float C5 = 8.3334519073e-3f;
  private static final float C4 = 4.1665795894e-2f;
  private static final float C3 = 1.6666665459e-1f;
  private static final float C2 = 5.0000001201e-1f;

  private VectorActivations() {}

  static void swiGlu(long gate, long up, float[] out, int at) {
    for (int i = 0; i < PackedMatrix.BLOCK; i += WIDTH) {
      FloatVector x = FloatVector.fromMemorySegment(FLOATS, MEMORY, gate + 4L * i, ORDER);
      FloatVector z = x.neg();
      z = z.blend(LOWEST, z.compare(VectorOperators.LT, LOWEST));
      z = z.blend(HIGHEST, z.compare(VectorOperators.GT, HIGHEST));
      FloatVector shifted =
          z.fma(FloatVector.broadcast(FLOATS, LOG2_E), FloatVector.broadcast(FLOATS, ROUND));
      FloatVector n = shifted.sub(ROUND);
      FloatVector r =
          n.fma(
              FloatVector.broadcast(FLOATS, LN_2_LOW),
              n.fma(FloatVector.broadcast(FLOATS, LN_2_HIGH), z));
      FloatVector p = FloatVector.broadcast(FLOATS, C7);
      p = p.fma(r, FloatVector.broadcast(FLOATS, C6));
      p = p.fma(r, FloatVector.broadcast(FLOATS, C5));
      p = p.fma(r, FloatVector.broadcast(FLOATS, C4));
      p = p.fma(r, FloatVector.broadcast(FLOATS, C3));
      p = p.fma(r, FloatVector.broadcast(FLOATS, C2));
      FloatVector power =
          shifted
              .reinterpretAsInts()
              .add(127 - 0x4B400000)
              .lanewise(VectorOperators.LSHL, 23)
              .reinterpretAsFloats();
      FloatVector one = FloatVector.broadcast(FLOATS, 1);
      FloatVector exponential = p.fma(r.mul(r), r).add(one).mul(power);
      x.mul(one.div(exponential.add(one)))
          .mul(FloatVector.fromMemorySegment(FLOATS, MEMORY, up + 4L * i, ORDER))
          .intoArray(out, at + i);
    }
  }

  static void gelu(long x, float[] out, int at) {
    for (int i = 0; i < PackedMatrix.BLOCK; i += WIDTH) {
      FloatVector v = FloatVector.fromMemorySegment(FLOATS, MEMORY, x + 4L * i, ORDER);
      FloatVector argument = v.mul(SQRT_HALF);
      FloatVector size = argument.abs();
      FloatVector one = FloatVector.broadcast(FLOATS, 1);
      FloatVector t = one.div(size.mul(0.3275911f).add(one));
      FloatVector q = FloatVector.broadcast(FLOATS, 1.061405429f);
      q = q.fma(t, FloatVector.broadcast(FLOATS, -1.453152027f));
      q = q.fma(t, FloatVector.broadcast(FLOATS, 1.421413741f));
      q = q.fma(t, FloatVector.broadcast(FLOATS, -0.284496736f));
      q = q.fma(t, FloatVector.broadcast(FLOATS, 0.254829592f)).mul(t);
      FloatVector z = size.mul(size).neg();
      z = z.blend(LOWEST, z.compare(VectorOperators.LT, LOWEST));
      FloatVector shifted =
          z.fma(FloatVector.broadcast(FLOATS, LOG2_E), FloatVector.broadcast(FLOATS, ROUND));
      FloatVector n = shifted.sub(ROUND);
      FloatVector r =
          n.fma(
              FloatVector.broadcast(FLOATS, LN_2_LOW),
              n.fma(FloatVector.broadcast(FLOATS, LN_2_HIGH), z));
      FloatVector p = FloatVector.broadcast(FLOATS, C7);
      p = p.fma(r, FloatVector.broadcast(FLOATS, C6));
      p = p.fma(r, FloatVector.broadcast(FLOATS, C5));
      p = p.fma(r, FloatVector.broadcast(FLOATS, C4));
      p = p.fma(r, FloatVector.broadcast(FLOATS, C3));
      p = p.fma(r, FloatVector.broadcast(FLOATS, C2));
      FloatVector power =
          shifted
              .reinterpretAsInts()
              .add(127 - 0x4B400000)
              .lanewise(VectorOperators.LSHL, 23)
              .reinterpretAsFloats();
      FloatVector exponential = p.fma(r.mul(r), r).add(one).mul(power);
      FloatVector positive = one.sub(q.mul(exponential));
      FloatVector erf = positive.blend(positive.neg(), argument.compare(VectorOperators.LT, 0));
      v.mul(0.5f).mul(erf.add(one)).intoArray(out, at + i);
    }
  }

  static void geluTanh(long x, float[] out, int at) {
    for (int i = 0; i < PackedMatrix.BLOCK; i += WIDTH) {
      FloatVector v = FloatVector.fromMemorySegment(FLOATS, MEMORY, x + 4L * i, ORDER);
      // (1 + tanh(u)) / 2 = sigmoid(2 u)
      FloatVector z = v.mul(v).mul(v).mul(CUBE).add(v).mul(TWICE_SQRT_2_OVER_PI).neg();
      z = z.blend(LOWEST, z.compare(VectorOperators.LT, LOWEST));
      z = z.blend(HIGHEST, z.compare(VectorOperators.GT, HIGHEST));
      FloatVector shifted =
          z.fma(FloatVector.broadcast(FLOATS, LOG2_E), FloatVector.broadcast(FLOATS, ROUND));
      FloatVector n = shifted.sub(ROUND);
      FloatVector r =
          n.fma(
              FloatVector.broadcast(FLOATS, LN_2_LOW),
              n.fma(FloatVector.broadcast(FLOATS, LN_2_HIGH), z));
      FloatVector p = FloatVector.broadcast(FLOATS, C7);
      p = p.fma(r, FloatVector.broadcast(FLOATS, C6));
      p = p.fma(r, FloatVector.broadcast(FLOATS, C5));
      p = p.fma(r, FloatVector.broadcast(FLOATS, C4));
      p = p.fma(r, FloatVector.broadcast(FLOATS, C3));
      p = p.fma(r, FloatVector.broadcast(FLOATS, C2));
      FloatVector power =
          shifted
              .reinterpretAsInts()
              .add(127 - 0x4B400000)
              .lanewise(VectorOperators.LSHL, 23)
              .reinterpretAsFloats();
      FloatVector one = FloatVector.broadcast(FLOATS, 1);
      FloatVector exponential = p.fma(r.mul(r), r).add(one).mul(power);
      v.mul(one.div(exponential.add(one))).intoArray(out, at + i);
    }
  }

  static void geGluTanh(long gate, long up, float[] out, int at) {
    geluTanh(gate, out, at);
    for (int i = 0; i < PackedMatrix.BLOCK; i++) {
      out[at + i] *= NativeNumbers.getFloat(up + 4L * i);
    }
  }

  static void softcap(long x, int count, float cap) {
    for (int i = 0; i < count; i += WIDTH) {
      FloatVector v = FloatVector.fromMemorySegment(FLOATS, MEMORY, x + 4L * i, ORDER);
      // tanh(u) = 2 sigmoid(2 u) - 1
      FloatVector z = v.mul(-2 / cap);
      z = z.blend(LOWEST, z.compare(VectorOperators.LT, LOWEST));
      z = z.blend(HIGHEST, z.compare(VectorOperators.GT, HIGHEST));
      FloatVector shifted =
          z.fma(FloatVector.broadcast(FLOATS, LOG2_E), FloatVector.broadcast(FLOATS, ROUND));
      FloatVector n = shifted.sub(ROUND);
      FloatVector r =
          n.fma(
              FloatVector.broadcast(FLOATS, LN_2_LOW),
              n.fma(FloatVector.broadcast(FLOATS, LN_2_HIGH), z));
      FloatVector p = FloatVector.broadcast(FLOATS, C7);
      p = p.fma(r, FloatVector.broadcast(FLOATS, C6));
      p = p.fma(r, FloatVector.broadcast(FLOATS, C5));
      p = p.fma(r, FloatVector.broadcast(FLOATS, C4));
      p = p.fma(r, FloatVector.broadcast(FLOATS, C3));
      p = p.fma(r, FloatVector.broadcast(FLOATS, C2));
      FloatVector power =
          shifted
              .reinterpretAsInts()
              .add(127 - 0x4B400000)
              .lanewise(VectorOperators.LSHL, 23)
              .reinterpretAsFloats();
      FloatVector one = FloatVector.broadcast(FLOATS, 1);
      FloatVector exponential = p.fma(r.mul(r), r).add(one).mul(power);
      one.div(exponential.add(one))
          .mul(2 * cap)
          .sub(cap)
          .intoMemorySegment(MEMORY, x + 4L * i, ORDER);
    }
  }
}
