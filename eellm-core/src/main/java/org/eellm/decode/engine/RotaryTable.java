package org.eellm.decode.engine;

import java.util.Arrays;
import org.eellm.config.ModelConfig.Positions;
import org.eellm.kernel.product.RowArithmetic;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.model.Rope;

/**
 * Rotary position embedding of single heads: elements j and j + D/2 are a pair, turned by {@code
 * position * frequency_j}. Sines and cosines are computed in float64 when a position is first
 * needed.
 */
final class RotaryTable {
  private final double[] frequencies; // of the pairs that turn; none without rotary positions
  private final int half;
  private FloatArray cosines = FloatArray.allocate(0);
  private FloatArray sines = FloatArray.allocate(0);

  RotaryTable(Positions positions) {
    half = positions.headDim() / 2;
    frequencies =
        positions.rotary()
            ? Arrays.copyOf(Rope.frequencies(positions), positions.rotaryDim() / 2)
            : new double[0];
  }

  /** Makes sure of positions below {@code end}; on the engine's thread. */
  void require(int end) {
    int pairs = frequencies.length;
    int known = pairs == 0 ? end : cosines.length() / pairs;
    if (end <= known) {
      return;
    }
    int count = Math.max(end, 2 * known);
    float[] allCosines = Arrays.copyOf(cosines.values(), count * pairs);
    float[] allSines = Arrays.copyOf(sines.values(), count * pairs);
    for (int position = known; position < count; position++) {
      for (int j = 0; j < pairs; j++) {
        allCosines[position * pairs + j] = (float) Math.cos(position * frequencies[j]);
        allSines[position * pairs + j] = (float) Math.sin(position * frequencies[j]);
      }
    }
    cosines = FloatArray.of(allCosines);
    sines = FloatArray.of(allSines);
  }

  /** Turns a head. */
  void rotate(FloatArray head, int from, int position) {
    int pairs = frequencies.length;
    RowArithmetic.rotate(head, from, from + half, cosines, sines, position * pairs, pairs);
  }
}
