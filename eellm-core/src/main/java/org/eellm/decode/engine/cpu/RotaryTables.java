package org.eellm.decode.engine.cpu;

import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.ModelConfig.Positions;

/**
 * The rotations of a model's layers.
 *
 * @param full of most layers
 * @param sliding of layers that slide; the same where their frequencies are
 * @param none of layers without positions
 */
record RotaryTables(RotaryTable full, RotaryTable sliding, RotaryTable none)
    implements AutoCloseable {

  static RotaryTables of(ModelConfig model) {
    Positions positions = model.positions();
    Positions sliding = model.positions(LayerType.SLIDING);
    RotaryTable full = RotaryTable.of(positions);
    return new RotaryTables(
        full,
        sliding.equals(positions) ? full : RotaryTable.of(sliding),
        RotaryTable.of(model.positions(LayerType.NO_POSITIONS)));
  }

  /** That of a type of layers. */
  RotaryTable of(LayerType type) {
    return switch (type) {
      case FULL -> full;
      case SLIDING -> sliding;
      case NO_POSITIONS -> none;
    };
  }

  /** Makes sure of positions below {@code end}; on the engine's thread. */
  void require(int end) {
    full.require(end);
    sliding.require(end);
  }

  @Override
  public void close() {
    full.close();
    sliding.close();
    none.close();
  }
}
