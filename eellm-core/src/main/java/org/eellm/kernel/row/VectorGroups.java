package org.eellm.kernel.row;

import static org.eellm.kernel.vector.Lanes.FLOATS;
import static org.eellm.kernel.vector.NativeNumbers.MEMORY;
import static org.eellm.kernel.vector.NativeNumbers.ORDER;
import static org.eellm.kernel.vector.NativeNumbers.WIDTH;

import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;
import org.eellm.kernel.vector.Lanes;

/**
 * Rounds groups of numbers to 8 bits. Numbers below 1e-30 become 0; a group with a NaN or an
 * infinite number becomes NaN. Written out (see {@link Lanes}).
 */
public final class VectorGroups {
  /** Numbers of the shortest vector that can be stored as bytes. */
  public static final int LEAST_WIDTH = 8;

  private static final VectorSpecies<Byte> BYTES =
      VectorSpecies.of(
          byte.class, VectorShape.forBitSize(Math.max(LEAST_WIDTH, WIDTH) * Byte.SIZE));

  private static final float MOST = 127;
  private static final float LEAST = RowKernel.LEAST;
  private static final float ROUND = 12582912f; // 1.5 * 2^23: what is added to it has no fraction
  private static final int ROUND_BITS = 0x4B400000;
  private static final int OFFSET = RowKernel.OFFSET;

  private VectorGroups() {}

  static void store(float[] x, int from, int group, int count, long to) {
    for (int g = 0; g < count; g++) {
      int source = from + g * group;
      FloatVector largest = FloatVector.zero(FLOATS);
      for (int i = source; i < source + group; i += 2 * WIDTH) {
        FloatVector a = FloatVector.fromArray(FLOATS, x, i);
        FloatVector b = FloatVector.fromArray(FLOATS, x, i + WIDTH);
        largest = largest.max(a.lanewise(VectorOperators.ABS));
        largest = largest.max(b.lanewise(VectorOperators.ABS));
      }
      float most = largest.reduceLanes(VectorOperators.MAX);
      float inverse = most < LEAST ? 0 : MOST / most;
      long target = to + (long) g * (group + 4L * RowKernel.MORE_UNITS);
      IntVector sum = IntVector.zero(Lanes.INTS);
      for (int i = 0; i < group; i += 2 * WIDTH) {
        FloatVector a = FloatVector.fromArray(FLOATS, x, source + i);
        FloatVector b = FloatVector.fromArray(FLOATS, x, source + i + WIDTH);
        IntVector p = a.mul(inverse).add(ROUND).reinterpretAsInts().sub(ROUND_BITS);
        IntVector q = b.mul(inverse).add(ROUND).reinterpretAsInts().sub(ROUND_BITS);
        sum = sum.add(p).add(q);
        p.convertShape(VectorOperators.I2B, BYTES, 0)
            .intoMemorySegment(MEMORY, target + 4 + i, ORDER);
        q.convertShape(VectorOperators.I2B, BYTES, 0)
            .intoMemorySegment(MEMORY, target + 4 + i + WIDTH, ORDER);
      }
      int all = sum.reduceLanes(VectorOperators.ADD);
      MEMORY.set(ValueLayout.JAVA_INT_UNALIGNED, target, -OFFSET * all);
      float scale = scale(most);
      MEMORY.set(ValueLayout.JAVA_FLOAT_UNALIGNED, target + 4 + group, scale);
    }
  }

  /** Writes groups for the Vector API into an array. */
  public static void round(float[] x, int from, int group, int count, float[] to, int at) {
    for (int g = 0; g < count; g++) {
      int source = from + g * group;
      FloatVector largest = FloatVector.zero(FLOATS);
      for (int i = source; i < source + group; i += 2 * WIDTH) {
        FloatVector a = FloatVector.fromArray(FLOATS, x, i);
        FloatVector b = FloatVector.fromArray(FLOATS, x, i + WIDTH);
        largest = largest.max(a.lanewise(VectorOperators.ABS));
        largest = largest.max(b.lanewise(VectorOperators.ABS));
      }
      float most = largest.reduceLanes(VectorOperators.MAX);
      float inverse = most < LEAST ? 0 : MOST / most;
      int target = at + g * (group + RowKernel.MORE_UNITS);
      IntVector sum = IntVector.zero(Lanes.INTS);
      for (int i = 0; i < group; i += 2 * WIDTH) {
        FloatVector a = FloatVector.fromArray(FLOATS, x, source + i);
        FloatVector b = FloatVector.fromArray(FLOATS, x, source + i + WIDTH);
        FloatVector p = a.mul(inverse).add(ROUND);
        FloatVector q = b.mul(inverse).add(ROUND);
        sum = sum.add(p.reinterpretAsInts().sub(ROUND_BITS));
        sum = sum.add(q.reinterpretAsInts().sub(ROUND_BITS));
        p.sub(ROUND).intoArray(to, target + 1 + i);
        q.sub(ROUND).intoArray(to, target + 1 + i + WIDTH);
      }
      to[target] = -OFFSET * sum.reduceLanes(VectorOperators.ADD);
      to[target + 1 + group] = scale(most);
    }
  }

  private static float scale(float most) {
    return most < LEAST ? 0 : Float.isFinite(most) ? most / MOST : Float.NaN;
  }
}
