package org.eellm.kernel.matmul;

import static org.eellm.kernel.vector.NativeNumbers.MEMORY;
import static org.eellm.kernel.vector.NativeNumbers.ORDER;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.eellm.kernel.weight.WeightFormat;

/**
 * A {@link Tile} by the Vector API, of integers; and those of other numbers. Vectors have 128 bits,
 * as all processors do that eellm has no machine code for. Written out (see {@link
 * org.eellm.kernel.vector.Lanes}).
 *
 * @param signs bits that are turned over, by which the numbers have a sign
 */
record VectorTile(WeightFormat format, int signs) implements Tile {
  private static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_128;
  private static final VectorSpecies<Integer> INTS = IntVector.SPECIES_128;
  private static final int UPPER = 0xFFFF0000;

  static void floats(long w, long stepBytes, int steps, float[] x, int at, float[] sums, int to) {
    FloatVector a = FloatVector.fromArray(FLOATS, sums, to);
    FloatVector b = FloatVector.fromArray(FLOATS, sums, to + 4);
    FloatVector c = FloatVector.fromArray(FLOATS, sums, to + 8);
    FloatVector d = FloatVector.fromArray(FLOATS, sums, to + 12);
    int even = steps - steps % 2;
    for (int step = 0; step < even; step += 2) {
      long from = w + step * stepBytes;
      FloatVector input = FloatVector.broadcast(FLOATS, x[at + step]);
      a = FloatVector.fromMemorySegment(FLOATS, MEMORY, from, ORDER).fma(input, a);
      b = FloatVector.fromMemorySegment(FLOATS, MEMORY, from + 16, ORDER).fma(input, b);
      c = FloatVector.fromMemorySegment(FLOATS, MEMORY, from + 32, ORDER).fma(input, c);
      d = FloatVector.fromMemorySegment(FLOATS, MEMORY, from + 48, ORDER).fma(input, d);
      from += stepBytes;
      input = FloatVector.broadcast(FLOATS, x[at + step + 1]);
      a = FloatVector.fromMemorySegment(FLOATS, MEMORY, from, ORDER).fma(input, a);
      b = FloatVector.fromMemorySegment(FLOATS, MEMORY, from + 16, ORDER).fma(input, b);
      c = FloatVector.fromMemorySegment(FLOATS, MEMORY, from + 32, ORDER).fma(input, c);
      d = FloatVector.fromMemorySegment(FLOATS, MEMORY, from + 48, ORDER).fma(input, d);
    }
    if (even < steps) {
      long from = w + even * stepBytes;
      FloatVector input = FloatVector.broadcast(FLOATS, x[at + even]);
      a = FloatVector.fromMemorySegment(FLOATS, MEMORY, from, ORDER).fma(input, a);
      b = FloatVector.fromMemorySegment(FLOATS, MEMORY, from + 16, ORDER).fma(input, b);
      c = FloatVector.fromMemorySegment(FLOATS, MEMORY, from + 32, ORDER).fma(input, c);
      d = FloatVector.fromMemorySegment(FLOATS, MEMORY, from + 48, ORDER).fma(input, d);
    }
    a.intoArray(sums, to);
    b.intoArray(sums, to + 4);
    c.intoArray(sums, to + 8);
    d.intoArray(sums, to + 12);
  }

  static void pairs(long w, long stepBytes, int steps, float[] x, int at, float[] sums, int to) {
    FloatVector a = FloatVector.fromArray(FLOATS, sums, to);
    FloatVector b = FloatVector.fromArray(FLOATS, sums, to + 4);
    FloatVector c = FloatVector.fromArray(FLOATS, sums, to + 8);
    FloatVector d = FloatVector.fromArray(FLOATS, sums, to + 12);
    for (int step = 0; step < steps; step++) {
      long from = w + step * stepBytes;
      FloatVector second = FloatVector.broadcast(FLOATS, x[at + 2 * step + 1]);
      IntVector p = IntVector.fromMemorySegment(INTS, MEMORY, from, ORDER);
      IntVector q = IntVector.fromMemorySegment(INTS, MEMORY, from + 16, ORDER);
      IntVector r = IntVector.fromMemorySegment(INTS, MEMORY, from + 32, ORDER);
      IntVector s = IntVector.fromMemorySegment(INTS, MEMORY, from + 48, ORDER);
      a = p.and(UPPER).reinterpretAsFloats().fma(second, a);
      b = q.and(UPPER).reinterpretAsFloats().fma(second, b);
      c = r.and(UPPER).reinterpretAsFloats().fma(second, c);
      d = s.and(UPPER).reinterpretAsFloats().fma(second, d);
      FloatVector first = FloatVector.broadcast(FLOATS, x[at + 2 * step]);
      a = p.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(first, a);
      b = q.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(first, b);
      c = r.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(first, c);
      d = s.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(first, d);
    }
    a.intoArray(sums, to);
    b.intoArray(sums, to + 4);
    c.intoArray(sums, to + 8);
    d.intoArray(sums, to + 12);
  }

  @Override
  public void run(long w, long stepBytes, int steps, float[] x, int at, float[] sums, int to) {
    FloatVector a = FloatVector.fromArray(FLOATS, sums, to);
    FloatVector b = FloatVector.fromArray(FLOATS, sums, to + 4);
    FloatVector c = FloatVector.fromArray(FLOATS, sums, to + 8);
    FloatVector d = FloatVector.fromArray(FLOATS, sums, to + 12);
    int together = format.inputsTogether();
    int others = Integer.SIZE - format.bits();
    for (int input = 0; input < steps * together; input++) {
      long from = w + input / together * stepBytes;
      int up = others - format.shift(input % together);
      FloatVector factor = FloatVector.broadcast(FLOATS, x[at + input]);
      IntVector p = IntVector.fromMemorySegment(INTS, MEMORY, from, ORDER);
      IntVector q = IntVector.fromMemorySegment(INTS, MEMORY, from + 16, ORDER);
      IntVector r = IntVector.fromMemorySegment(INTS, MEMORY, from + 32, ORDER);
      IntVector s = IntVector.fromMemorySegment(INTS, MEMORY, from + 48, ORDER);
      p = p.lanewise(VectorOperators.XOR, signs).lanewise(VectorOperators.LSHL, up);
      q = q.lanewise(VectorOperators.XOR, signs).lanewise(VectorOperators.LSHL, up);
      r = r.lanewise(VectorOperators.XOR, signs).lanewise(VectorOperators.LSHL, up);
      s = s.lanewise(VectorOperators.XOR, signs).lanewise(VectorOperators.LSHL, up);
      p = p.lanewise(VectorOperators.ASHR, others);
      q = q.lanewise(VectorOperators.ASHR, others);
      r = r.lanewise(VectorOperators.ASHR, others);
      s = s.lanewise(VectorOperators.ASHR, others);
      a = ((FloatVector) p.convert(VectorOperators.I2F, 0)).fma(factor, a);
      b = ((FloatVector) q.convert(VectorOperators.I2F, 0)).fma(factor, b);
      c = ((FloatVector) r.convert(VectorOperators.I2F, 0)).fma(factor, c);
      d = ((FloatVector) s.convert(VectorOperators.I2F, 0)).fma(factor, d);
    }
    a.intoArray(sums, to);
    b.intoArray(sums, to + 4);
    c.intoArray(sums, to + 8);
    d.intoArray(sums, to + 12);
  }
}
