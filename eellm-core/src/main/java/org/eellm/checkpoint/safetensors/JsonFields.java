package org.eellm.checkpoint.safetensors;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.eellm.file.Shown;

/**
 * The fields of a JSON object, typed. A field that is {@code null} counts as absent, as in Hugging
 * Face's files. Remembers which fields were asked for.
 *
 * @param place file, and path within it, for messages
 */
public record JsonFields(String place, JsonNode object, Set<String> asked) {
  private static final int MAX_TEXT = 200; // they are all names

  public JsonFields(String place, JsonNode object) {
    this(place, object, new LinkedHashSet<>());
  }

  public boolean has(String name) {
    return find(name).isPresent();
  }

  /** The names of the fields, {@code null} or not, that nobody has asked for. */
  public List<String> unasked() {
    List<String> names = new ArrayList<>(object.propertyStream().map(Map.Entry::getKey).toList());
    names.removeAll(asked);
    return names;
  }

  public int positive(String name) {
    return find(name).map(node -> positive(name, node)).orElseThrow(() -> missing(name));
  }

  /** A whole number from 1 to {@code most}. */
  public int positiveUpTo(String name, int most) {
    int value = positive(name);
    if (value > most) {
      throw new CheckpointException(
          "%s: %s: %d is not a whole number from 1 to %d".formatted(place, name, value, most));
    }
    return value;
  }

  public int positive(String name, int otherwise) {
    return find(name).map(node -> positive(name, node)).orElse(otherwise);
  }

  public double number(String name) {
    return find(name).map(node -> number(name, node)).orElseThrow(() -> missing(name));
  }

  public double number(String name, double otherwise) {
    return find(name).map(node -> number(name, node)).orElse(otherwise);
  }

  public boolean bool(String name) {
    return find(name).map(node -> bool(name, node)).orElseThrow(() -> missing(name));
  }

  public Optional<Boolean> optionalBool(String name) {
    return find(name).map(node -> bool(name, node));
  }

  public String text(String name) {
    return optionalText(name).orElseThrow(() -> missing(name));
  }

  public Optional<String> optionalText(String name) {
    return find(name)
        .map(
            node -> {
              if (!node.isTextual() || node.textValue().length() > MAX_TEXT) {
                throw wrong(name, node, "is not a text of up to %d characters".formatted(MAX_TEXT));
              }
              return node.textValue();
            });
  }

  /** One whole number from 0 or a list of such; empty if absent. */
  public List<Integer> numbers(String name) {
    List<Integer> numbers = new ArrayList<>();
    find(name)
        .ifPresent(
            node -> {
              for (JsonNode element : node.isArray() ? node : List.of(node)) {
                if (!element.isInt() || element.intValue() < 0) {
                  throw wrong(name, node, "is neither a whole number from 0 nor a list of such");
                }
                numbers.add(element.intValue());
              }
            });
    return List.copyOf(numbers);
  }

  /** A list that has to be there. */
  public JsonNode array(String name) {
    JsonNode node = find(name).orElseThrow(() -> missing(name));
    if (!node.isArray()) {
      throw wrong(name, node, "is not a list");
    }
    return node;
  }

  public Optional<JsonFields> object(String name) {
    return find(name)
        .map(
            node -> {
              if (!node.isObject()) {
                throw wrong(name, node, "is not an object");
              }
              return new JsonFields(place + ": " + name, node);
            });
  }

  public Optional<JsonNode> find(String name) {
    asked.add(name);
    return Optional.ofNullable(object.get(name)).filter(node -> !node.isNull());
  }

  private int positive(String name, JsonNode node) {
    if (!node.isInt() || node.intValue() < 1) {
      throw wrong(name, node, "is not a whole number from 1 to " + Integer.MAX_VALUE);
    }
    return node.intValue();
  }

  private double number(String name, JsonNode node) {
    if (!node.isNumber() || !Double.isFinite(node.doubleValue())) {
      throw wrong(name, node, "is not a finite number");
    }
    return node.doubleValue();
  }

  private boolean bool(String name, JsonNode node) {
    if (!node.isBoolean()) {
      throw wrong(name, node, "is neither true nor false");
    }
    return node.booleanValue();
  }

  private CheckpointException missing(String name) {
    return new CheckpointException("%s: %s is missing; add it".formatted(place, name));
  }

  public CheckpointException wrong(String name, JsonNode value, String problem) {
    return new CheckpointException(
        "%s: %s: %s %s".formatted(place, name, Shown.of(value), problem));
  }
}
