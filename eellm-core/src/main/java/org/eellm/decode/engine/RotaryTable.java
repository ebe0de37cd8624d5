package org.eellm.decode.engine;

import java.util.Arrays;
import org.eellm.config.ModelConfig.Positions;
import org.eellm.kernel.product.RowArithmetic;
import org.eellm.model.Rope;

/**
 * Rotary position embedding of single heads: elements j and j + D/2 are a pair, turned by {@code
 * position * frequency_j}. Sines and cosines are computed in float64 when a position is first
 * needed.
 */
final class RotaryTable {
  private final double[] frequencies; // of the pairs that turn; none without rotary positions
  private final int half;
  private float[] cosines = {};
  private float[] sines = {};

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
    int known = pairs == 0 ? end : cosines.length / pairs;
    if (end <= known) {
      return;
    }
    int count = Math.max(end, 2 * known);
    cosines = Arrays.copyOf(cosines, count * pairs);
    sines = Arrays.copyOf(sines, count * pairs);
    for (int position = known; position < count; position++) {
      for (int j = 0; j < pairs; j++) {
        cosines[position * pairs + j] = (float) Math.cos(position * frequencies[j]);
        sines[position * pairs + j] = (float) Math.sin(position * frequencies[j]);
      }
    }
  }

  /** Turns a head. */
  void rotate(float[] head, int from, int position) {
    int pairs = frequencies.length;
    RowArithmetic.rotate(head, from, from + half, cosines, sines, position * pairs, pairs);
  }
}
