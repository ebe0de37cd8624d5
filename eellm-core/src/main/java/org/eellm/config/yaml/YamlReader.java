package org.eellm.config.yaml;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Function;
import org.eellm.config.ConfigException;
import org.snakeyaml.engine.v2.api.ConstructNode;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.api.lowlevel.Compose;
import org.snakeyaml.engine.v2.api.lowlevel.Parse;
import org.snakeyaml.engine.v2.events.CollectionEndEvent;
import org.snakeyaml.engine.v2.events.CollectionStartEvent;
import org.snakeyaml.engine.v2.events.Event;
import org.snakeyaml.engine.v2.events.ScalarEvent;
import org.snakeyaml.engine.v2.exceptions.Mark;
import org.snakeyaml.engine.v2.exceptions.MarkedYamlEngineException;
import org.snakeyaml.engine.v2.exceptions.ReaderException;
import org.snakeyaml.engine.v2.exceptions.YamlEngineException;
import org.snakeyaml.engine.v2.nodes.CollectionNode;
import org.snakeyaml.engine.v2.nodes.MappingNode;
import org.snakeyaml.engine.v2.nodes.Node;
import org.snakeyaml.engine.v2.nodes.NodeTuple;
import org.snakeyaml.engine.v2.nodes.ScalarNode;
import org.snakeyaml.engine.v2.nodes.SequenceNode;
import org.snakeyaml.engine.v2.nodes.Tag;
import org.snakeyaml.engine.v2.schema.CoreSchema;

/**
 * Reads YAML 1.2 (core schema) into a JSON tree and notes where each value was written. What a
 * configuration has no use for is refused: several documents, duplicate keys, anchors, tags of
 * one's own, and numbers that are not finite.
 */
public final class YamlReader {
  private static final JsonNodeFactory NODES = JsonNodeFactory.instance;
  private static final CoreSchema SCHEMA = new CoreSchema();

  private static final Set<Tag> COLLECTIONS = Set.of(Tag.MAP, Tag.SEQ);

  /** Lists and mappings within each other; no configuration has a quarter of it. */
  private static final int MAX_DEPTH = 32;

  /** Characters of a number, and of the keys on the way to a value. */
  private static final int MAX_WORD = 300;

  private final String name;
  private final Function<Mark, String> place;
  private final Map<String, String> places;

  private YamlReader(String name, Function<Mark, String> place, Map<String, String> places) {
    this.name = name;
    this.place = place;
    this.places = places;
  }

  /**
   * Reads one document of a file.
   *
   * @param name the file's name for messages
   * @param places receives the place, {@code name:line}, of every dotted path in the document
   */
  public static JsonNode readFile(String yaml, String name, Map<String, String> places) {
    return new YamlReader(name, mark -> name + ":" + (mark.getLine() + 1), places).read(yaml, "");
  }

  /**
   * Reads a value given on the command line.
   *
   * @param path the value's dotted path
   * @param place where the value comes from, for messages
   * @param places receives {@code place} for every dotted path in the value
   */
  public static JsonNode readValue(
      String yaml, String path, String place, Map<String, String> places) {
    return new YamlReader(place, mark -> place, places).read(yaml, path);
  }

  private JsonNode read(String yaml, String path) {
    List<Node> documents = new ArrayList<>();
    try {
      LoadSettings settings =
          LoadSettings.builder().setSchema(SCHEMA).setAllowNonScalarKeys(true).build();
      requireBounds(new Parse(settings).parseString(yaml));
      new Compose(settings).composeAllFromString(yaml).forEach(documents::add);
    } catch (MarkedYamlEngineException e) {
      String where = e.getProblemMark().map(place).orElse(name);
      throw new ConfigException(where + ": not YAML: " + e.getProblem(), e);
    } catch (ReaderException e) {
      throw new ConfigException(
          "%s: not YAML: the character U+%04X is not allowed".formatted(name, e.getCodePoint()), e);
    } catch (YamlEngineException e) {
      throw new ConfigException(name + ": not YAML: " + e.getMessage(), e);
    }
    if (documents.isEmpty()) {
      return NODES.missingNode();
    }
    if (documents.size() > 1) {
      throw refusal(documents.get(1), "a second document; keep one");
    }
    return convert(documents.getFirst(), path);
  }

  /** Before anything is made that recurses, or takes more time than the text's length. */
  private void requireBounds(Iterable<Event> events) {
    int depth = 0;
    for (Event event : events) {
      switch (event) {
        case CollectionStartEvent start -> {
          if (++depth > MAX_DEPTH) {
            throw refusal(
                start.getStartMark().map(place).orElse(name),
                "more than %d lists and mappings are within each other".formatted(MAX_DEPTH));
          }
        }
        case CollectionEndEvent _ -> depth--;
        case ScalarEvent scalar when scalar.isPlain() && scalar.getValue().length() > MAX_WORD ->
            throw refusal(
                scalar.getStartMark().map(place).orElse(name),
                "%s... has %d characters; put a long text in quotes"
                    .formatted(start(scalar.getValue()), scalar.getValue().length()));
        default -> {}
      }
    }
  }

  private static String start(String text) {
    return text.substring(0, Math.min(text.length(), 40));
  }

  private JsonNode convert(Node node, String path) {
    if (node instanceof CollectionNode<?> && !COLLECTIONS.contains(node.getTag())) {
      throw unsupportedTag(node, path);
    }
    if (path.length() > MAX_WORD) {
      throw refusal(node, start(path) + "...: a key is too long");
    }
    if (node.getAnchor().isPresent()) {
      throw refusal(node, path + ": anchors are not supported; write the value out");
    }
    node.getStartMark().map(place).ifPresent(text -> places.put(path, text));
    return switch (node) {
      case MappingNode mapping -> convertMapping(mapping, path);
      case SequenceNode sequence -> {
        ArrayNode array = NODES.arrayNode();
        for (Node element : sequence.getValue()) {
          array.add(convert(element, path + "[" + array.size() + "]"));
        }
        yield array;
      }
      case ScalarNode scalar -> convertScalar(scalar, path);
      default -> throw refusal(node, path + ": aliases are not supported; write the value out");
    };
  }

  private ObjectNode convertMapping(MappingNode mapping, String path) {
    ObjectNode object = NODES.objectNode();
    for (NodeTuple entry : mapping.getValue()) {
      if (!(entry.getKeyNode() instanceof ScalarNode keyNode)) {
        throw refusal(entry.getKeyNode(), path + ": a key is not a word");
      }
      String key = keyNode.getValue();
      String childPath = path.isEmpty() ? key : path + "." + key;
      if (object.has(key)) {
        throw refusal(keyNode, childPath + ": set twice; keep one");
      }
      object.set(key, convert(entry.getValueNode(), childPath));
      keyNode.getStartMark().map(place).ifPresent(text -> places.put(childPath, text));
    }
    return object;
  }

  private JsonNode convertScalar(ScalarNode scalar, String path) {
    Tag tag = scalar.getTag();
    if (!tag.equals(SCHEMA.getScalarResolver().resolve(scalar.getValue(), scalar.isPlain()))) {
      throw unsupportedTag(scalar, path);
    }
    if (tag.equals(Tag.STR)) {
      return NODES.textNode(scalar.getValue());
    }
    ConstructNode constructor =
        Objects.requireNonNull(SCHEMA.getSchemaTagConstructors().get(tag), tag::toString);
    return switch (constructor.construct(scalar)) {
      case null -> NODES.nullNode();
      case Boolean value -> NODES.booleanNode(value);
      case Integer value -> NODES.numberNode(value);
      case Long value -> NODES.numberNode(value);
      case BigInteger value -> NODES.numberNode(value);
      case Double value when Double.isFinite(value) -> NODES.numberNode(value);
      default -> throw refusal(scalar, path + ": " + scalar.getValue() + " is not a finite number");
    };
  }

  private ConfigException unsupportedTag(Node node, String path) {
    return refusal(
        node, path + ": tags such as " + node.getTag() + " are not supported; remove it");
  }

  private ConfigException refusal(Node node, String message) {
    return refusal(node.getStartMark().map(place).orElse(name), message);
  }

  private static ConfigException refusal(String where, String message) {
    return new ConfigException(where + ": " + message);
  }
}
