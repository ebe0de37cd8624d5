package org.eellm.kernel.weight;

import java.util.Arrays;
import org.eellm.kernel.vector.FloatArray;

/**
 * Rounds weights to 4 bits. The number of a group that is largest without its sign becomes -8, as
 * in GGUF's Q4_0, or less: of a few scales each group gets the one whose squared errors sum to the
 * least. A group with a weight that is not finite gets a scale that is none.
 *
 * <p>One thread at a time works with a quantizer.
 */
final class Int4Quantizer {
  static final int OUTPUTS = PackedMatrix.BLOCK;
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

  /**
   * A quantizer.
   *
   * @param to what is filled, a matrix with 4 bits
   */
  Int4Quantizer(PackedMatrix to) {
    this(to, Int4Code.works());
  }

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
      if (machineCode) {
        Int4Code.round(
            memory, factors, group, to.group(block, g), to.scaleAddress(block * OUTPUTS, g));
      } else {
        byte[] numbers = new byte[group];
        for (int o = 0; o < OUTPUTS; o++) {
          short scale = round(o, numbers);
          to.putGroup(block * OUTPUTS + o, g, scale, numbers, 0);
        }
      }
    }
  }

  /** Rounds an output's numbers of the tile as {@link Int4Code} does, and returns their scale. */
  private short round(int output, byte[] numbers) {
    float best = bestScale(output);
    float inverse = inverse(best);
    for (int i = 0; i < group; i++) {
      float q = rounded(tile[i * OUTPUTS + output], inverse) + ROUND;
      int bits = Float.floatToRawIntBits(q) - ROUND_BITS;
      numbers[i] = (byte) (bits + to.format().offset() & 0xF);
    }
    return Float.floatToFloat16(best);
  }

  private float bestScale(int output) {
    float high = 0;
    float low = 0;
    for (int i = output; i < tile.length; i += OUTPUTS) {
      high = Math.max(high, tile[i]);
      low = Math.min(low, tile[i]);
    }
    float whole = (high > -low ? high : low) / LEAST; // which cuts nothing off
    float best = Float.NaN;
    float least = Float.POSITIVE_INFINITY;
    for (float factor : factors.values()) {
      float scale = Float.float16ToFloat(Float.floatToFloat16(whole * factor));
      float inverse = inverse(scale);
      float sum = 0;
      for (int i = output; i < tile.length; i += OUTPUTS) {
        float error = tile[i] - scale * rounded(tile[i], inverse);
        sum = Math.fma(error, error, sum);
      }
      if (sum < least) {
        least = sum;
        best = scale;
      }
    }
    return best;
  }

  private static float inverse(float scale) {
    return scale == 0 ? 0 : 1 / scale;
  }

  private static float rounded(float number, float inverse) {
    return Math.min(Math.max(number * inverse + ROUND - ROUND, LEAST), MOST);
  }
}
