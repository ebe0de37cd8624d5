package org.eellm.kernel.weight;

import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static org.eellm.kernel.vector.Lanes.FLOATS;
import static org.eellm.kernel.vector.Lanes.INTS;
import static org.eellm.kernel.vector.Lanes.MEMORY;
import static org.eellm.kernel.vector.Lanes.ORDER;
import static org.eellm.kernel.vector.Lanes.WIDTH;

import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import org.eellm.kernel.vector.FloatArray;

/**
 * Rounds weights to 4 bits. The number of a group that is largest without its sign becomes -8, as
 * in GGUF's Q4_0, or less: of a few scales each group gets the one whose squared errors sum to the
 * least. A group with a weight that is not finite gets a scale that is none.
 *
 * <p>One thread at a time works with a quantizer.
 */
final class Int4Quantizer {
  private static final int OUTPUTS = PackedMatrix.BLOCK;
  static final float ROUND = 12582912f; // 1.5 * 2^23: what is added to it has no fraction
  static final int ROUND_BITS = 0x4B400000;
  static final float LEAST = -8; // q
  static final float MOST = 7;
  static final int FACTORS = 18; // by which scales are tried
  private static final float FIRST_FACTOR = 0.78f;
  private static final float FACTOR_STEP = 0.02f;

  private final PackedMatrix to;
  private final int group;
  private final boolean machineCode;
  private final FloatArray memory;
  private final float[] tile; // numbers of a group: [group, OUTPUTS]
  private final FloatArray factors = FloatArray.allocate(FACTORS);
  private final float[] largest = new float[OUTPUTS];
  private final float[] smallest = new float[OUTPUTS];
  private final float[] whole = new float[OUTPUTS]; // the scales that cut nothing off
  private final float[] scales = new float[OUTPUTS];
  private final float[] errors = new float[OUTPUTS];
  private final float[] best = new float[OUTPUTS]; // scales
  private final float[] bestErrors = new float[OUTPUTS];

  /**
   * A quantizer.
   *
   * @param to what is filled, a matrix with 4 bits
   */
  Int4Quantizer(PackedMatrix to) {
    this(to, Int4Code.works());
  }

  /** The same by {@link Int4Code} or by the Vector API. */
  Int4Quantizer(PackedMatrix to, boolean machineCode) {
    this.to = to;
    this.machineCode = machineCode;
    group = to.format().group();
    memory = FloatArray.allocate(group * OUTPUTS);
    tile = memory.values();
    for (int i = 0; i < FACTORS; i++) {
      factors.values()[i] = FIRST_FACTOR + i * FACTOR_STEP;
    }
  }

  /**
   * Fills a block.
   *
   * @param rows of the matrix, [count, groups of 32]: as many outputs of the block
   * @param count of rows; outputs beyond become 0
   */
  void pack(int block, float[] rows, int count) {
    int width = to.groups() * group;
    if (count < OUTPUTS) {
      Arrays.fill(tile, 0);
    }
    for (int g = 0; g < to.groups(); g++) {
      for (int o = 0; o < count; o++) {
        for (int i = 0; i < group; i++) {
          tile[i * OUTPUTS + o] = rows[o * width + g * group + i];
        }
      }
      long scale = to.scaleAddress(block * OUTPUTS, g);
      if (machineCode) {
        Int4Code.round(memory, factors, group, to.group(block, g), scale);
        continue;
      }
      findScales();
      round(to.group(block, g));
      for (int o = 0; o < OUTPUTS; o++) {
        MEMORY.set(JAVA_SHORT_UNALIGNED, scale + 2L * o, Float.floatToFloat16(best[o]));
      }
    }
  }

  private void findScales() {
    findRange();
    for (int o = 0; o < OUTPUTS; o++) {
      float peak = largest[o] > -smallest[o] ? largest[o] : smallest[o];
      whole[o] = peak / LEAST;
    }
    Arrays.fill(best, Float.NaN);
    Arrays.fill(bestErrors, Float.POSITIVE_INFINITY);
    for (float factor : factors.values()) {
      for (int o = 0; o < OUTPUTS; o++) {
        scales[o] = Float.float16ToFloat(Float.floatToFloat16(whole[o] * factor));
      }
      findErrors();
      for (int o = 0; o < OUTPUTS; o++) {
        if (errors[o] < bestErrors[o]) {
          bestErrors[o] = errors[o];
          best[o] = scales[o];
        }
      }
    }
  }

  private void findRange() {
    for (int o = 0; o < OUTPUTS; o += WIDTH) {
      FloatVector high = FloatVector.zero(FLOATS);
      FloatVector low = FloatVector.zero(FLOATS);
      for (int at = o; at < tile.length; at += OUTPUTS) {
        FloatVector x = FloatVector.fromArray(FLOATS, tile, at);
        high = high.max(x);
        low = low.min(x);
      }
      high.intoArray(largest, o);
      low.intoArray(smallest, o);
    }
  }

  private void findErrors() {
    for (int o = 0; o < OUTPUTS; o += WIDTH) {
      FloatVector scale = FloatVector.fromArray(FLOATS, scales, o);
      FloatVector inverse = inverse(scale);
      FloatVector sum = FloatVector.zero(FLOATS);
      for (int at = o; at < tile.length; at += OUTPUTS) {
        FloatVector x = FloatVector.fromArray(FLOATS, tile, at);
        FloatVector q = x.mul(inverse).add(ROUND).sub(ROUND).max(LEAST).min(MOST);
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
  private void round(long address) {
    int together = to.format().inputsTogether();
    int zero = to.format().offset() - ROUND_BITS;
    for (int o = 0; o < OUTPUTS; o += WIDTH) {
      FloatVector inverse = inverse(FloatVector.fromArray(FLOATS, best, o));
      for (int first = 0; first < group; first += together) {
        IntVector all = IntVector.zero(INTS);
        for (int i = 0; i < together; i++) {
          FloatVector x = FloatVector.fromArray(FLOATS, tile, (first + i) * OUTPUTS + o);
          FloatVector q = x.mul(inverse).add(ROUND).sub(ROUND).max(LEAST).min(MOST);
          IntVector number = q.add(ROUND).reinterpretAsInts().add(zero);
          all = all.or(number.lanewise(VectorOperators.LSHL, to.format().shift(i)));
        }
        long at = address + 4L * (first / together * OUTPUTS + o);
        all.intoMemorySegment(MEMORY, at, ORDER);
      }
    }
  }
}
