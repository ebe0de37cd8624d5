package org.eellm.kernel.row;

import static org.eellm.kernel.vector.Lanes.FLOATS;
import static org.eellm.kernel.vector.Lanes.ROTATE_1;
import static org.eellm.kernel.vector.Lanes.ROTATE_2;
import static org.eellm.kernel.vector.Lanes.ROTATE_4;
import static org.eellm.kernel.vector.Lanes.ROTATE_8;
import static org.eellm.kernel.vector.NativeNumbers.BYTES;
import static org.eellm.kernel.vector.NativeNumbers.MEMORY;
import static org.eellm.kernel.vector.NativeNumbers.ORDER;
import static org.eellm.kernel.vector.NativeNumbers.WIDTH;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import org.eellm.kernel.vector.Bfloat16Rounding;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.IntArray;
import org.eellm.kernel.vector.Lanes;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.vector.WeightedIds;
import org.eellm.kernel.weight.PackedMatrix;

/** By the Vector API, written out (see {@link Lanes}), and by Java's loops. */
final class VectorRows implements RowKernel {
  private static final long BLOCK_BYTES = 4L * PackedMatrix.BLOCK;

  // Of exp: see Lanes.
  private static final float LOWEST = -87.3f;
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

  @Override
  public void rms(long x, FloatArray weights, double epsilon, FloatArray to) {
    float[] weight = weights.values();
    float[] out = to.values();
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
    a = a.add(a.rearrange(ROTATE_1));
    a = a.add(a.rearrange(ROTATE_2));
    if (WIDTH > 4) {
      a = a.add(a.rearrange(ROTATE_4));
    }
    if (WIDTH > 8) {
      a = a.add(a.rearrange(ROTATE_8));
    }
    float factor = (float) (1 / Math.sqrt(a.lane(0) / n + epsilon));
    for (int i = 0; i < n; i += WIDTH) {
      FloatVector.fromMemorySegment(FLOATS, MEMORY, x + 4L * i, ORDER)
          .mul(factor)
          .mul(FloatVector.fromArray(FLOATS, weight, i))
          .intoArray(out, i);
    }
  }

  @Override
  public void layer(long x, FloatArray weights, FloatArray biases, double epsilon, FloatArray to) {
    float[] weight = weights.values();
    float[] bias = biases.values();
    float[] out = to.values();
    int n = weight.length;
    FloatVector a = FloatVector.zero(FLOATS);
    for (int i = 0; i < n; i += WIDTH) {
      a = a.add(FloatVector.fromMemorySegment(FLOATS, MEMORY, x + 4L * i, ORDER));
    }
    a = a.add(a.rearrange(ROTATE_1));
    a = a.add(a.rearrange(ROTATE_2));
    if (WIDTH > 4) {
      a = a.add(a.rearrange(ROTATE_4));
    }
    if (WIDTH > 8) {
      a = a.add(a.rearrange(ROTATE_8));
    }
    float mean = a.lane(0) / n;
    a = FloatVector.zero(FLOATS);
    for (int i = 0; i < n; i += WIDTH) {
      FloatVector v = FloatVector.fromMemorySegment(FLOATS, MEMORY, x + 4L * i, ORDER).sub(mean);
      a = v.fma(v, a);
    }
    a = a.add(a.rearrange(ROTATE_1));
    a = a.add(a.rearrange(ROTATE_2));
    if (WIDTH > 4) {
      a = a.add(a.rearrange(ROTATE_4));
    }
    if (WIDTH > 8) {
      a = a.add(a.rearrange(ROTATE_8));
    }
    float factor = (float) (1 / Math.sqrt(a.lane(0) / n + epsilon));
    for (int i = 0; i < n; i += WIDTH) {
      FloatVector.fromMemorySegment(FLOATS, MEMORY, x + 4L * i, ORDER)
          .sub(mean)
          .mul(factor)
          .fma(FloatVector.fromArray(FLOATS, weight, i), FloatVector.fromArray(FLOATS, bias, i))
          .intoArray(out, i);
    }
  }

  @Override
  public float product(long x, FloatArray array, int count) {
    float[] y = array.values();
    int fours = count - count % (4 * WIDTH);
    FloatVector a = FloatVector.zero(FLOATS);
    FloatVector b = a;
    FloatVector c = a;
    FloatVector d = a;
    for (int i = 0; i < fours; i += 4 * WIDTH) {
      long at = x + 4L * i;
      FloatVector v = FloatVector.fromMemorySegment(FLOATS, MEMORY, at, ORDER);
      a = v.fma(FloatVector.fromArray(FLOATS, y, i), a);
      v = FloatVector.fromMemorySegment(FLOATS, MEMORY, at + BYTES, ORDER);
      b = v.fma(FloatVector.fromArray(FLOATS, y, i + WIDTH), b);
      v = FloatVector.fromMemorySegment(FLOATS, MEMORY, at + 2L * BYTES, ORDER);
      c = v.fma(FloatVector.fromArray(FLOATS, y, i + 2 * WIDTH), c);
      v = FloatVector.fromMemorySegment(FLOATS, MEMORY, at + 3L * BYTES, ORDER);
      d = v.fma(FloatVector.fromArray(FLOATS, y, i + 3 * WIDTH), d);
    }
    for (int i = fours; i < count; i += WIDTH) {
      FloatVector v = FloatVector.fromMemorySegment(FLOATS, MEMORY, x + 4L * i, ORDER);
      a = v.fma(FloatVector.fromArray(FLOATS, y, i), a);
    }
    a = a.add(b).add(c.add(d));
    a = a.add(a.rearrange(ROTATE_1));
    a = a.add(a.rearrange(ROTATE_2));
    if (WIDTH > 4) {
      a = a.add(a.rearrange(ROTATE_4));
    }
    if (WIDTH > 8) {
      a = a.add(a.rearrange(ROTATE_8));
    }
    return a.lane(0);
  }

  @Override
  public void add(long x, long to, int count) {
    for (int i = 0; i < count; i++) {
      float sum = NativeNumbers.getFloat(to + 4L * i) + NativeNumbers.getFloat(x + 4L * i);
      NativeNumbers.putFloat(sum, to + 4L * i);
    }
  }

  @Override
  public void add(FloatArray array, int from, long to, int count) {
    float[] x = array.values();
    for (int i = 0; i < count; i++) {
      NativeNumbers.putFloat(NativeNumbers.getFloat(to + 4L * i) + x[from + i], to + 4L * i);
    }
  }

  @Override
  public void swiGlu(long blocks, int count, FloatArray out) {
    for (int i = 0; i < count; i += PackedMatrix.BLOCK) {
      long gate = blocks + 8L * i;
      VectorActivations.swiGlu(gate, gate + BLOCK_BYTES, out.values(), i);
    }
  }

  @Override
  public void geGluTanh(long blocks, int count, FloatArray out) {
    for (int i = 0; i < count; i += PackedMatrix.BLOCK) {
      long gate = blocks + 8L * i;
      VectorActivations.geGluTanh(gate, gate + BLOCK_BYTES, out.values(), i);
    }
  }

  @Override
  public void gelu(long x, int count, FloatArray out) {
    for (int i = 0; i < count; i += PackedMatrix.BLOCK) {
      VectorActivations.gelu(x + 4L * i, out.values(), i);
    }
  }

  @Override
  public void geluTanh(long x, int count, FloatArray out) {
    for (int i = 0; i < count; i += PackedMatrix.BLOCK) {
      VectorActivations.geluTanh(x + 4L * i, out.values(), i);
    }
  }

  @Override
  public void softcap(long x, int count, float cap) {
    VectorActivations.softcap(x, Math.ceilDiv(count, WIDTH) * WIDTH, cap);
  }

  @Override
  public float max(long row, int count) {
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
    for (int i = eights; i < count; i += WIDTH) {
      a = a.max(FloatVector.fromMemorySegment(FLOATS, MEMORY, row + 4L * i, ORDER));
    }
    return a.max(b).max(c.max(d)).reduceLanes(VectorOperators.MAX);
  }

  @Override
  public int place(float value, long row, int count) {
    for (int i = 0; i < count; i++) {
      if (NativeNumbers.getFloat(row + 4L * i) == value) {
        return i;
      }
    }
    return -1;
  }

  @Override
  public float sumOfExponentials(long row, int count, float max, float factor) {
    FloatVector sums = FloatVector.zero(FLOATS);
    for (int i = 0; i < count; i += WIDTH) {
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
      sums = sums.add(p.fma(r.mul(r), r).add(1).mul(power));
    }
    sums = sums.add(sums.rearrange(ROTATE_1));
    sums = sums.add(sums.rearrange(ROTATE_2));
    if (WIDTH > 4) {
      sums = sums.add(sums.rearrange(ROTATE_4));
    }
    if (WIDTH > 8) {
      sums = sums.add(sums.rearrange(ROTATE_8));
    }
    return sums.lane(0);
  }

  @Override
  public float productWithBfloat16(long x, long y, int count) {
    float sum = 0;
    for (int i = 0; i < count; i++) {
      sum = Math.fma(NativeNumbers.getFloat(x + 4L * i), NativeNumbers.get(y + 2L * i), sum);
    }
    return sum;
  }

  @Override
  public void multiply(long x, int count, float factor) {
    for (int i = 0; i < count; i++) {
      NativeNumbers.putFloat(NativeNumbers.getFloat(x + 4L * i) * factor, x + 4L * i);
    }
  }

  @Override
  public void store(FloatArray x, int from, int count, long to) {
    Bfloat16Rounding.store(x.values(), from, count, to);
  }

  @Override
  public void store(long x, int count, long to) {
    Bfloat16Rounding.store(x, count, to);
  }

  @Override
  public void quantize(FloatArray x, int from, int group, int count, long to) {
    VectorGroups.store(x.values(), from, group, count, to);
  }

  @Override
  public int scale(FloatArray x, int count, float factor) {
    return JavaSampling.scale(x.values(), count, factor);
  }

  @Override
  public void powersOfTwo(FloatArray powers, int count, FloatArray out) {
    JavaSampling.powersOfTwo(powers.values(), count, out.values());
  }

  @Override
  public void mark(WeightedIds list, int from, int count, long key, float bound, IntArray marks) {
    JavaSampling.mark(list, from, count, key, bound, marks);
  }
}
