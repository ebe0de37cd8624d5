package org.eellm.grammar;

import com.fasterxml.jackson.databind.JavaType;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.introspect.BeanPropertyDefinition;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.datatype.jdk8.Jdk8Module;
import java.math.BigDecimal;
import java.time.Instant;
import java.time.LocalDate;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;

/** The JSON Schema of the texts that Jackson reads into a record, with the names that it uses. */
final class ClassSchema {
  private static final ObjectMapper JSON = JsonMapper.builder().addModule(new Jdk8Module()).build();
  private static final Set<Class<?>> INTEGERS =
      Set.of(
          byte.class,
          short.class,
          int.class,
          long.class,
          Byte.class,
          Short.class,
          Integer.class,
          Long.class);
  private static final Set<Class<?>> NUMBERS =
      Set.of(float.class, double.class, Float.class, Double.class, BigDecimal.class);
  private static final Map<Class<?>, String> FORMATS =
      Map.of(
          LocalDate.class, "date",
          Instant.class, "date-time",
          UUID.class, "uuid");

  private final ObjectNode definitions = JSON.createObjectNode();

  private ClassSchema() {}

  static String of(Class<? extends Record> type) {
    ClassSchema all = new ClassSchema();
    ObjectNode schema = all.schema(JSON.constructType(type), type.getSimpleName());
    schema.set("$defs", all.definitions);
    return schema.toString();
  }

  private ObjectNode schema(JavaType type, String path) {
    ObjectNode schema = JSON.createObjectNode();
    Class<?> raw = type.getRawClass();
    if (INTEGERS.contains(raw)) {
      bounds(schema.put("type", "integer"), raw);
    } else if (NUMBERS.contains(raw)) {
      schema.put("type", "number");
    } else if (raw == boolean.class || raw == Boolean.class) {
      schema.put("type", "boolean");
    } else if (raw == String.class || FORMATS.containsKey(raw)) {
      schema.put("type", "string");
      if (FORMATS.containsKey(raw)) {
        schema.put("format", FORMATS.get(raw));
      }
    } else if (raw.isEnum()) {
      ArrayNode names = schema.putArray("enum");
      for (Object constant : raw.getEnumConstants()) {
        names.add(JSON.<JsonNode>valueToTree(constant));
      }
    } else if (type.isReferenceType()) {
      return schema(type.getReferencedType(), path);
    } else if (type.isCollectionLikeType() || type.isArrayType()) {
      schema.put("type", "array").set("items", schema(type.getContentType(), path + "[]"));
    } else if (type.isMapLikeType() && type.getKeyType().getRawClass() == String.class) {
      schema
          .put("type", "object")
          .set("additionalProperties", schema(type.getContentType(), path + "{}"));
    } else if (raw.isRecord()) {
      String name = type.toCanonical();
      if (!definitions.has(name)) {
        definitions.putObject(name); // before its properties, which may lead here again
        definitions.set(name, properties(type, path));
      }
      schema.put("$ref", "#/$defs/" + name.replace("~", "~0").replace("/", "~1"));
    } else {
      throw new GrammarException(
          path,
          raw.getName() + " has no schema; use records, lists, maps, enums, texts and numbers");
    }
    return schema;
  }

  private static void bounds(ObjectNode schema, Class<?> type) {
    int bits =
        switch (type.getSimpleName()) {
          case "byte", "Byte" -> Byte.SIZE;
          case "short", "Short" -> Short.SIZE;
          case "int", "Integer" -> Integer.SIZE;
          default -> Long.SIZE;
        };
    schema.put("minimum", -1L << (bits - 1)).put("maximum", ~(-1L << (bits - 1)));
  }

  private ObjectNode properties(JavaType type, String path) {
    ObjectNode schema = JSON.createObjectNode().put("type", "object");
    ObjectNode properties = schema.putObject("properties");
    ArrayNode required = schema.putArray("required");
    List<BeanPropertyDefinition> all =
        JSON.getDeserializationConfig().introspect(type).findProperties();
    for (BeanPropertyDefinition property : all) {
      JavaType of = property.getPrimaryType();
      properties.set(property.getName(), schema(of, path + "." + property.getName()));
      if (!of.isReferenceType()) {
        required.add(property.getName());
      }
    }
    return schema.put("additionalProperties", false);
  }
}
