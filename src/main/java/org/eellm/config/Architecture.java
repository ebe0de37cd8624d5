package org.eellm.config;

import static org.eellm.config.ConfigException.require;

import java.util.stream.Collectors;
import java.util.stream.IntStream;

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

  /**
   * Refuses a number of ranks that cannot share every matrix in equal parts.
   *
   * @param key the setting that says how many, such as {@code parallel.tp}
   * @throws ConfigException naming numbers that can
   */
  public void requireSplits(String key, int ranks) {
    splits(key, ranks, "model.num_heads", model.numHeads());
    splits(key, ranks, "model.num_key_value_heads", model.numKeyValueHeads());
    splits(key, ranks, "model.ffn_hidden_size", model.ffnHiddenSize());
    boolean known = model.vocabSize() > 0;
    splits(
        key,
        ranks,
        known ? "model.vocab_size" : "model.vocab_multiple",
        known ? model.vocabSize() : model.vocabMultiple());
  }

  private static void splits(String key, int ranks, String name, int count) {
    require(
        count % ranks == 0,
        key,
        "%d does not divide %s %d; use %s"
            .formatted(
                ranks,
                name,
                count,
                IntStream.rangeClosed(1, ranks)
                    .filter(size -> count % size == 0)
                    .mapToObj(String::valueOf)
                    .collect(Collectors.joining(", "))));
  }
}
