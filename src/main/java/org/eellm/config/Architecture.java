package org.eellm.config;

import static org.eellm.config.ConfigException.require;

/** A model's shape: what a checkpoint's {@code config.json} says. */
public record Architecture(ModelConfig model, ExitLayout exits) {
  public Architecture {
    for (int layer : exits.layers()) {
      require(
          layer <= model.numLayers(),
          "exits.layers",
          layer
              + " is beyond the model's "
              + model.numLayers()
              + " layers; use 1.."
              + model.numLayers());
    }
  }
}
