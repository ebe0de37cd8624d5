package org.eellm.kernel.weight;

import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static org.eellm.kernel.vector.Lanes.FLOATS;
import static org.eellm.kernel.vector.Lanes.INTS;
import static org.eellm.kernel.vector.NativeNumbers.MEMORY;
import static org.eellm.kernel.vector.NativeNumbers.ORDER;
import static org.eellm.kernel.vector.NativeNumbers.WIDTH;

import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/** The rounding of {@link Int4Code}, by the Vector API. */
final class VectorInt4Quantizer {
  private final PackedMatrix to;
  private final float[] tile;
  private final float[] factors;
  private final float[] largest = new float[Int4Quantizer.OUTPUTS];
  private final float[] smallest = new float[Int4Quantizer.OUTPUTS];
  private final float[] whole = new float[Int4Quantizer.OUTPUTS]; // the scales that cut nothing off
  private final float[] scales = new float[Int4Quantizer.OUTPUTS];
  private final float[] errors = new float[Int4Quantizer.OUTPUTS];
  private final float[] best = new float[Int4Quantizer.OUTPUTS]; // scales
  private final float[] bestErrors = new float[Int4Quantizer.OUTPUTS];

  /**
   * @param to what is filled
   * @param tile numbers of a group, [group, outputs], there when they are rounded
   * @param factors by which scales are tried
   */
  VectorInt4Quantizer(PackedMatrix to, float[] tile, float[] factors) {
    this.to = to;
    this.tile = tile;
    this.factors = factors;
  }

  /**
   * Rounds the tile.
   *
   * @param address of the group's numbers
   * @param scale address of the first output's scale of the group
   */
  void round(long address, long scale) {
    findScales();
    write(address);
    for (int o = 0; o < Int4Quantizer.OUTPUTS; o++) {
      MEMORY.set(JAVA_SHORT_UNALIGNED, scale + 2L * o, Float.floatToFloat16(best[o]));
    }
  }

  private void findScales() {
    findRange();
    for (int o = 0; o < Int4Quantizer.OUTPUTS; o++) {
      float peak = largest[o] > -smallest[o] ? largest[o] : smallest[o];
      whole[o] = peak / Int4Quantizer.LEAST;
    }
    Arrays.fill(best, Float.NaN);
    Arrays.fill(bestErrors, Float.POSITIVE_INFINITY);
    for (float factor : factors) {
      for (int o = 0; o < Int4Quantizer.OUTPUTS; o++) {
        scales[o] = Float.float16ToFloat(Float.floatToFloat16(whole[o] * factor));
      }
      findErrors();
      for (int o = 0; o < Int4Quantizer.OUTPUTS; o++) {
        if (errors[o] < bestErrors[o]) {
          bestErrors[o] = errors[o];
          best[o] = scales[o];
        }
      }
    }
  }

  private void findRange() {
    for (int o = 0; o < Int4Quantizer.OUTPUTS; o += WIDTH) {
      FloatVector high = FloatVector.zero(FLOATS);
      FloatVector low = FloatVector.zero(FLOATS);
      for (int at = o; at < tile.length; at += Int4Quantizer.OUTPUTS) {
        FloatVector x = FloatVector.fromArray(FLOATS, tile, at);
        high = high.max(x);
        low = low.min(x);
      }
      high.intoArray(largest, o);
      low.intoArray(smallest, o);
    }
  }

  private void findErrors() {
    for (int o = 0; o < Int4Quantizer.OUTPUTS; o += WIDTH) {
      FloatVector scale = FloatVector.fromArray(FLOATS, scales, o);
      FloatVector inverse = inverse(scale);
      FloatVector sum = FloatVector.zero(FLOATS);
      for (int at = o; at < tile.length; at += Int4Quantizer.OUTPUTS) {
        FloatVector x = FloatVector.fromArray(FLOATS, tile, at);
        FloatVector q =
            x.mul(inverse)
                .add(Int4Quantizer.ROUND)
                .sub(Int4Quantizer.ROUND)
                .max(Int4Quantizer.LEAST)
                .min(Int4Quantizer.MOST);
        FloatVector error = x.sub(scale.mul(q));
        sum = error.fma(error, sum);
      }
      sum.intoArray(errors, o);
    }
  }

  private static FloatVector inverse(FloatVector scale) {
    FloatVector one = FloatVector.broadcast(FLOATS, 1);
    return one.div(scale).blend(0, scale.eq(0));
  }

  /** Writes the numbers where they go: a vector holds what lies together, of as many outputs. */
  private void write(long address) {
    int together = to.format().inputsTogether();
    int zero = to.format().offset() - Int4Quantizer.ROUND_BITS;
    for (int o = 0; o < Int4Quantizer.OUTPUTS; o += WIDTH) {
      FloatVector inverse = inverse(FloatVector.fromArray(FLOATS, best, o));
      for (int first = 0; first < to.format().group(); first += together) {
        IntVector all = IntVector.zero(INTS);
        for (int i = 0; i < together; i++) {
          FloatVector x =
              FloatVector.fromArray(FLOATS, tile, (first + i) * Int4Quantizer.OUTPUTS + o);
          FloatVector q =
              x.mul(inverse)
                  .add(Int4Quantizer.ROUND)
                  .sub(Int4Quantizer.ROUND)
                  .max(Int4Quantizer.LEAST)
                  .min(Int4Quantizer.MOST);
          IntVector number = q.add(Int4Quantizer.ROUND).reinterpretAsInts().add(zero);
          all = all.or(number.lanewise(VectorOperators.LSHL, to.format().shift(i)));
        }
        long at = address + 4L * (first / together * Int4Quantizer.OUTPUTS + o);
        all.intoMemorySegment(MEMORY, at, ORDER);
      }
    }
  }
}
