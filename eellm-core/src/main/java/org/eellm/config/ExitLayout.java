package org.eellm.config;

import static org.eellm.config.ConfigException.require;

import java.util.List;

/**
 * Where the early exits sit and what their heads are made of, in the order branch MLP, block, norm,
 * output matrix. With no part but the output matrix a head is of the kind "embedding".
 *
 * @param layers the layers, from 1, whose output the exits read; ascending
 * @param norm a norm before the output matrix
 * @param mlp a branch MLP in place of the layer's own on the exit's path
 * @param block a complete layer on the exit's path
 * @param tieOutput the output matrix is the final head's, be that the embedding or not
 */
public record ExitLayout(
    List<Integer> layers, boolean norm, boolean mlp, boolean block, boolean tieOutput) {
  public ExitLayout {
    layers = List.copyOf(layers);
    for (int i = 0; i < layers.size(); i++) {
      require(
          layers.get(i) >= 1, "exits.layers", layers.get(i) + " is below 1; layers count from 1");
      if (i > 0 && layers.get(i - 1) >= layers.get(i)) { // told of a list that may be long
        throw new ConfigException(
            "exits.layers: "
                + layers
                + " is not strictly ascending; name each layer once, in order");
      }
    }
  }

  /** No exits. */
  public static ExitLayout none() {
    return new ExitLayout(List.of(), false, false, false, false);
  }
}
