package org.eellm.model;

import java.util.ArrayList;
import java.util.List;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.HeadId;

/**
 * Where a model's output head stands, on whatever rank its weights are ({@link HeadLayers}).
 *
 * @param index among all heads of the model by depth, from 0
 * @param id which one: the exit of a layer, or the final head
 * @param layer the layer it belongs to, from 1; numLayers for the final head
 * @param tap number of trunk branches whose output it reads: {@code 2 layer}, or {@code 2 layer -
 *     1} where a branch MLP takes the place of the layer's own
 * @param hasAttention whether a block of its own has keys and values
 */
public record Head(int index, HeadId id, int layer, int tap, boolean hasAttention) {
  /** All heads of a model: of exits in order of depth, then the final head. */
  static List<Head> of(Architecture architecture) {
    ExitLayout exits = architecture.exits();
    int numLayers = architecture.model().numLayers();
    List<Head> heads = new ArrayList<>();
    for (int layer : exits.layers()) {
      int tap = exits.mlp() ? 2 * layer - 1 : 2 * layer;
      heads.add(new Head(heads.size(), HeadId.exit(layer), layer, tap, exits.block()));
    }
    heads.add(new Head(heads.size(), HeadId.FINAL, numLayers, 2 * numLayers, false));
    return List.copyOf(heads);
  }

  /** Whether it is an exit's, as opposed to the final one. */
  public boolean isExit() {
    return id.isExit();
  }
}
