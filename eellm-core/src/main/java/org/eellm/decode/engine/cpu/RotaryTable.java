package org.eellm.decode.engine.cpu;

import java.util.Arrays;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.Map;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.ModelConfig.Positions;
import org.eellm.kernel.PagedAttention;
import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.model.Rope;

/**
 * Rotary position embedding of single heads: elements j and j + D/2 are a pair, rotated by {@code
 * position * frequency_j}. Sines and cosines are computed in float64 when a position is first
 * needed.
 */
final class RotaryTable implements AutoCloseable {
  private final double[] frequencies; // of the pairs that rotate; none without rotary positions
  private final double factor; // of sines and cosines
  private NativeBuffer cosines = NativeBuffer.allocate(0); // [positions, pairs], as the sines
  private NativeBuffer sines = NativeBuffer.allocate(0);
  private int room; // positions
  private int known; // of these, from 0

  private RotaryTable(double[] frequencies, double factor) {
    this.frequencies = frequencies;
    this.factor = factor;
  }

  /** Those of a model's types of layers; types that see positions in one way share one. */
  static Map<LayerType, RotaryTable> of(ModelConfig model) {
    Map<Positions, RotaryTable> tables = new HashMap<>();
    Map<LayerType, RotaryTable> ofTypes = new EnumMap<>(LayerType.class);
    for (LayerType type : LayerType.values()) {
      ofTypes.put(type, tables.computeIfAbsent(model.positions(type), RotaryTable::of));
    }
    return ofTypes;
  }

  static RotaryTable of(Positions positions) {
    return positions.rotary()
        ? new RotaryTable(
            Arrays.copyOf(Rope.frequencies(positions), positions.rotaryDim() / 2),
            positions.ropeScaling().attentionFactor())
        : new RotaryTable(new double[0], 1);
  }

  /** Makes sure of positions below {@code end}; on the engine's thread. */
  void require(int end) {
    int pairs = frequencies.length;
    if (pairs == 0 || end <= known) {
      return;
    }
    if (end > room) {
      grow(Math.max(end, 2 * room));
    }
    for (int position = known; position < end; position++) {
      for (int j = 0; j < pairs; j++) {
        double angle = position * frequencies[j];
        long at = 4L * (position * pairs + j);
        NativeNumbers.putFloat((float) (factor * Math.cos(angle)), cosines.address() + at);
        NativeNumbers.putFloat((float) (factor * Math.sin(angle)), sines.address() + at);
      }
    }
    known = end;
  }

  private void grow(int count) {
    int pairs = frequencies.length;
    NativeBuffer moreCosines = NativeBuffer.allocate(4L * count * pairs);
    NativeBuffer moreSines = NativeBuffer.allocate(4L * count * pairs);
    FloatArithmetic.copy(cosines.address(), moreCosines.address(), known * pairs);
    FloatArithmetic.copy(sines.address(), moreSines.address(), known * pairs);
    close();
    cosines = moreCosines;
    sines = moreSines;
    room = count;
  }

  /** Rotates a head, when the attention does what it is asked for. */
  void rotate(PagedAttention attention, long head, int position) {
    int pairs = frequencies.length;
    long at = 4L * position * pairs;
    attention.rotate(head, cosines.address() + at, sines.address() + at, pairs);
  }

  @Override
  public void close() {
    cosines.close();
    sines.close();
  }
}
