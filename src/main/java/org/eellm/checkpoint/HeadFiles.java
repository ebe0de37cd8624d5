package org.eellm.checkpoint;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.eellm.config.ExitLayout;

/**
 * Exits that lie beside a trunk rather than in it: {@code exits.json} is what {@code early_exit} in
 * {@code config.json} would be, and {@code exits.safetensors} has the tensors {@code exits.{n}.*}.
 * Other tools see a plain model and nothing else.
 */
final class HeadFiles {
  static final String LAYOUT = "exits.json";
  static final String WEIGHTS = "exits.safetensors";
  static final String PREFIX = "exits.";

  private HeadFiles() {}

  /** The exits in the words of {@code early_exit}. */
  static ObjectNode json(ExitLayout exits) {
    ObjectNode node = JsonNodeFactory.instance.objectNode();
    ArrayNode layers = node.putArray("layers");
    exits.layers().forEach(layers::add);
    node.put("norm", exits.norm());
    node.put("mlp", exits.mlp());
    node.put("block", exits.block());
    node.put("tie_output", exits.tieOutput());
    return node;
  }
}
