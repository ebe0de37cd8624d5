package org.eellm.config.yaml;

import com.fasterxml.jackson.annotation.JsonSetter;
import com.fasterxml.jackson.annotation.Nulls;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.EnumNamingStrategies;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.cfg.CoercionAction;
import com.fasterxml.jackson.databind.cfg.CoercionInputShape;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.type.LogicalType;
import com.fasterxml.jackson.datatype.jdk8.Jdk8Module;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.eellm.config.ConfigException;
import org.eellm.file.InputFiles;
import org.eellm.file.IoErrors;
import org.snakeyaml.engine.v2.api.Dump;
import org.snakeyaml.engine.v2.api.DumpSettings;
import org.snakeyaml.engine.v2.common.FlowStyle;
import org.snakeyaml.engine.v2.schema.CoreSchema;

/**
 * Records as YAML with snake_case keys, bound strictly: an unknown key, a missing one, or a value
 * of another type is a {@link ConfigException} of one line that begins with {@code file:line}.
 */
public final class StrictYaml {
  private static final JsonMapper MAPPER =
      JsonMapper.builder()
          .addModule(new Jdk8Module())
          .propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
          .enumNamingStrategy(EnumNamingStrategies.SNAKE_CASE)
          .disable(MapperFeature.ALLOW_COERCION_OF_SCALARS)
          .disable(DeserializationFeature.ACCEPT_FLOAT_AS_INT)
          .enable(
              DeserializationFeature.FAIL_ON_NUMBERS_FOR_ENUMS,
              DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES,
              DeserializationFeature.FAIL_ON_NULL_CREATOR_PROPERTIES,
              DeserializationFeature.FAIL_ON_MISSING_CREATOR_PROPERTIES)
          .defaultSetterInfo(JsonSetter.Value.forContentNulls(Nulls.FAIL))
          .withCoercionConfig(
              LogicalType.Textual,
              text ->
                  text.setCoercion(CoercionInputShape.Integer, CoercionAction.Fail)
                      .setCoercion(CoercionInputShape.Float, CoercionAction.Fail)
                      .setCoercion(CoercionInputShape.Boolean, CoercionAction.Fail))
          .build();

  /** A configuration is text that a person wrote. */
  private static final int MAX_BYTES = 1 << 18;

  /** Takes trees apart, in which an absent value is null. */
  private static final JsonMapper PLAIN = JsonMapper.builder().build();

  private StrictYaml() {}

  /**
   * Reads a record.
   *
   * @throws ConfigException if the file cannot be read or is not such a record
   */
  public static <T> T read(Path file, Class<T> type) {
    return parse(textOf(file), file.toString(), type);
  }

  /**
   * Reads a record from text.
   *
   * @param name of where it comes from, for messages
   */
  public static <T> T parse(String yaml, String name, Class<T> type) {
    Map<String, String> places = new HashMap<>();
    ObjectNode tree = mapping(yaml, name, "key, as in name: ...", places);
    places.put("", name);
    return bind(tree, type, places, MAPPER.createObjectNode());
  }

  /**
   * Reads a record from text over defaults, key by key on the first level.
   *
   * @param defaults YAML with values for the keys that may be left out
   */
  public static <T> T parse(String yaml, String name, String defaults, Class<T> type) {
    Map<String, String> places = new HashMap<>();
    ObjectNode given = mapping(yaml, name, "key, as in name: ...", places);
    ObjectNode usual = mapping(defaults, "defaults", "key", new HashMap<>());
    ObjectNode tree = usual.deepCopy();
    tree.setAll(given);
    places.put("", name);
    return bind(tree, type, places, usual);
  }

  /** Writes a record; {@link #read} gives an equal one back. */
  public static void write(Object value, Path file) throws IOException {
    Map<String, Object> values = PLAIN.convertValue(tree(value), new TypeReference<>() {});
    DumpSettings settings =
        DumpSettings.builder()
            .setSchema(new CoreSchema())
            .setDefaultFlowStyle(FlowStyle.BLOCK)
            .setIndentWithIndicator(true)
            .setIndicatorIndent(2)
            .build();
    Files.writeString(file, new Dump(settings).dumpToString(values));
  }

  /**
   * A document that has to be a mapping.
   *
   * @param first what it may begin with, for messages
   * @param places receives where the value at each dotted path was written
   */
  public static ObjectNode mapping(
      String yaml, String name, String first, Map<String, String> places) {
    return switch (YamlReader.readFile(yaml, name, places)) {
      case ObjectNode mapping -> mapping;
      case JsonNode node when node.isMissingNode() || node.isNull() ->
          throw new ConfigException(name + ": is empty; give at least one " + first);
      case JsonNode _ ->
          throw new ConfigException(name + ": is not a mapping; begin with a " + first);
    };
  }

  /**
   * Binds a tree to a record.
   *
   * @param places where the values at dotted paths were written
   * @param defaults the tree of all keys, to suggest from
   */
  public static <T> T bind(
      ObjectNode tree, Class<T> type, Map<String, String> places, ObjectNode defaults) {
    try {
      return MAPPER.treeToValue(tree, type);
    } catch (JsonProcessingException e) {
      throw new BindingErrors(tree, places, defaults).explain(e);
    }
  }

  /** A record as a tree. */
  public static JsonNode tree(Object value) {
    return MAPPER.valueToTree(value);
  }

  /**
   * A file's text.
   *
   * @throws ConfigException if it cannot be read
   */
  public static String textOf(Path file) {
    try {
      return InputFiles.text(file, MAX_BYTES);
    } catch (IOException e) {
      throw new ConfigException("%s: %s".formatted(file, IoErrors.reason(e)), e);
    }
  }
}
