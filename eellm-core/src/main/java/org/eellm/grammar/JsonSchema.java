package org.eellm.grammar;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.MissingNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.StreamSupport;
import org.eellm.grammar.JsonText.Bounds;

/**
 * The language of the JSON texts that a JSON Schema (draft 2020-12) accepts, written without blanks
 * and with an object's members in the schema's order.
 *
 * <p>Each text of the language is accepted by the schema. Not each accepted text is of the
 * language: an object with listed properties has no others, and a number at most 15 digits on each
 * side of its point, or more where bounds ask for them. A keyword that could not be kept is refused
 * by its path.
 */
final class JsonSchema {
  private static final int MOST_SCHEMAS = 10_000;
  private static final int MOST_DEPTH = 100;
  private static final int MOST_PROPERTIES = 500;
  private static final int MOST_ITEMS = 1_000_000_000;

  private static final Set<String> ANNOTATIONS =
      Set.of(
          "$schema",
          "$id",
          "$comment",
          "$defs",
          "definitions",
          "title",
          "description",
          "default",
          "examples",
          "deprecated",
          "readOnly",
          "writeOnly",
          "discriminator");

  /** Numbers of OpenAPI's format int32, which is what schemas of Java's classes have. */
  private static final Bounds INT =
      new Bounds(
          Optional.of(BigInteger.valueOf(Integer.MIN_VALUE)),
          Optional.of(BigInteger.valueOf(Integer.MAX_VALUE)));

  private static final Map<String, String> FORMATS =
      Map.of(
          "date", "^\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\\d|2[0-8])$",
          "time",
              "^([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)$",
          "date-time",
              "^\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\\d|2[0-8])T([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)$",
          "uuid", "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
          "ipv4",
              "^((25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)\\.){3}(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)$",
          "email",
              "^[a-z0-9]{1,32}([._+-][a-z0-9]{1,32}){0,3}@([a-z0-9]{1,32}\\.){1,3}[a-z]{2,12}$");

  private final Languages all;
  private final JsonText json;
  private final JsonNode root;
  private final Map<String, Language> references = new HashMap<>();
  private int schemas;

  private JsonSchema(Languages all, JsonNode root) {
    this.all = all;
    this.root = root;
    json = new JsonText(all);
  }

  static Language of(Languages all, JsonNode schema) {
    return new JsonSchema(all, schema).read(schema, "", 0);
  }

  static Language object(Languages all) {
    JsonText json = new JsonText(all);
    return json.map(json.value);
  }

  private Language read(JsonNode schema, String path, int depth) {
    if (++schemas > MOST_SCHEMAS || depth > MOST_DEPTH) {
      throw wrong(
          path,
          schemas > MOST_SCHEMAS
              ? "it has more than %,d schemas".formatted(MOST_SCHEMAS)
              : "schemas lie deeper than %d; name the inner ones in $defs".formatted(MOST_DEPTH));
    }
    if (schema.isBoolean()) {
      return schema.booleanValue() ? json.value : all.nothing;
    }
    if (!schema.isObject()) {
      throw wrong(path, "is no schema; give an object, true or false");
    }
    Keywords keywords = new Keywords(schema, path);
    Language language = keywords.read(depth);
    keywords.requireNoOthers();
    return language;
  }

  private static GrammarException wrong(String path, String problem) {
    return new GrammarException("schema" + path, problem);
  }

  /** The keywords of one schema, each of which has to be asked for. */
  private final class Keywords {
    private final JsonNode schema;
    private final String path;
    private final Set<String> asked = new HashSet<>(ANNOTATIONS);

    Keywords(JsonNode schema, String path) {
      this.schema = schema;
      this.path = path;
    }

    Optional<JsonNode> get(String keyword) {
      asked.add(keyword);
      return Optional.ofNullable(schema.get(keyword));
    }

    void requireNoOthers() {
      for (Iterator<String> names = schema.fieldNames(); names.hasNext(); ) {
        String name = names.next();
        if (!asked.contains(name)) {
          throw wrong(path + "/" + name, "is not supported here; leave it out");
        }
      }
    }

    Language read(int depth) {
      Optional<JsonNode> reference = get("$ref");
      if (reference.isPresent()) {
        return reference(reference.get().asText());
      }
      Optional<JsonNode> constant = get("const");
      if (constant.isPresent()) {
        return ofTypes(List.of(constant.get()));
      }
      Optional<JsonNode> values = get("enum");
      if (values.isPresent()) {
        return ofTypes(values(values.get(), "enum"));
      }
      for (String keyword : List.of("anyOf", "oneOf", "allOf")) {
        Optional<JsonNode> schemas = get(keyword);
        if (schemas.isPresent()) {
          return combined(keyword, values(schemas.get(), keyword), depth);
        }
      }
      List<String> types = types();
      List<Language> alternatives = new ArrayList<>();
      for (String type : types) {
        alternatives.add(ofType(type, depth));
      }
      return types.isEmpty() ? json.value : all.choice(alternatives);
    }

    private List<JsonNode> values(JsonNode list, String keyword) {
      if (!list.isArray() || list.isEmpty()) {
        throw wrong(path + "/" + keyword, "is no list, or an empty one");
      }
      return StreamSupport.stream(list.spliterator(), false).toList();
    }

    /** Those values that have the types, which may be given as well. */
    private Language ofTypes(List<JsonNode> values) {
      List<String> types = get("type").isPresent() ? types() : List.of();
      return all.literals(
          values.stream()
              .filter(value -> types.isEmpty() || types.stream().anyMatch(type -> is(value, type)))
              .map(JsonNode::toString)
              .toList());
    }

    private static boolean is(JsonNode value, String type) {
      return switch (type) {
        case "string" -> value.isTextual();
        case "integer" ->
            value.isNumber() && value.decimalValue().stripTrailingZeros().scale() <= 0;
        case "number" -> value.isNumber();
        case "boolean" -> value.isBoolean();
        case "null" -> value.isNull();
        case "array" -> value.isArray();
        default -> value.isObject();
      };
    }

    private Language combined(String keyword, List<JsonNode> schemas, int depth) {
      if (keyword.equals("allOf") && schemas.size() > 1) {
        throw wrong(path + "/allOf", "of several schemas is not supported; write them as one");
      }
      if (keyword.equals("oneOf") && !excludeEachOther(schemas)) {
        throw wrong(
            path + "/oneOf",
            "is supported where types, or constants of one required property, tell the schemas"
                + " apart; use anyOf");
      }
      List<Language> alternatives = new ArrayList<>();
      for (int i = 0; i < schemas.size(); i++) {
        String inner = "%s/%s/%d".formatted(path, keyword, i);
        alternatives.add(JsonSchema.this.read(schemas.get(i), inner, depth + 1));
      }
      return all.choice(alternatives);
    }

    private boolean excludeEachOther(List<JsonNode> schemas) {
      List<JsonNode> resolved = schemas.stream().map(JsonSchema.this::resolved).toList();
      Set<String> types = new HashSet<>();
      if (resolved.stream()
              .allMatch(
                  each -> each.path("type").isTextual() && types.add(each.path("type").asText()))
          && !types.containsAll(Set.of("integer", "number"))) {
        return true;
      }
      for (JsonNode name : resolved.getFirst().path("required")) {
        Set<JsonNode> constants = new HashSet<>();
        if (resolved.stream().allMatch(each -> constants.add(constant(each, name.asText())))
            && constants.stream().noneMatch(JsonNode::isMissingNode)) {
          return true;
        }
      }
      return false;
    }

    private static JsonNode constant(JsonNode schema, String name) {
      boolean required =
          StreamSupport.stream(schema.path("required").spliterator(), false)
              .anyMatch(each -> each.asText().equals(name));
      return schema.path("properties").path(name).path(required ? "const" : "");
    }

    /** The types that a schema names, or that its keywords are of; none if it may be any value. */
    private List<String> types() {
      Optional<JsonNode> given = get("type");
      if (given.isEmpty()) {
        if (schema.has("properties")
            || schema.has("additionalProperties")
            || schema.has("required")) {
          return List.of("object");
        }
        if (schema.has("items") || schema.has("prefixItems")) {
          return List.of("array");
        }
        boolean text =
            schema.has("pattern")
                || schema.has("minLength")
                || schema.has("maxLength")
                || schema.has("format");
        return text ? List.of("string") : List.of();
      }
      List<JsonNode> names =
          given.get().isTextual() ? List.of(given.get()) : values(given.get(), "type");
      for (JsonNode name : names) {
        if (!name.isTextual()
            || !Set.of("string", "integer", "number", "boolean", "null", "array", "object")
                .contains(name.asText())) {
          throw wrong(path + "/type", "%s is no type of JSON".formatted(name));
        }
      }
      return names.stream().map(JsonNode::asText).toList();
    }

    private Language ofType(String type, int depth) {
      return switch (type) {
        case "string" -> string();
        case "integer" -> json.integer(hasFormat("int32") ? bounds().within(INT) : bounds());
        case "number" -> json.number(bounds());
        case "boolean" -> all.literals(List.of("true", "false"));
        case "null" -> all.literal("null");
        case "array" -> array(depth);
        default -> object(depth);
      };
    }

    private Language string() {
      Optional<String> pattern = get("pattern").map(JsonNode::asText);
      Optional<String> format = get("format").map(JsonNode::asText);
      if (format.isPresent() && !FORMATS.containsKey(format.get())) {
        throw wrong(
            path + "/format",
            "%s is not supported; use one of %s, or leave it out"
                .formatted(format.get(), FORMATS.keySet().stream().sorted().toList()));
      }
      Optional<String> expression = pattern.or(() -> format.map(FORMATS::get));
      if (expression.isEmpty()) {
        return json.string(count("minLength", 0), count("maxLength", Languages.UNBOUNDED));
      }
      if (pattern.isPresent() && format.isPresent()
          || schema.has("minLength")
          || schema.has("maxLength")) {
        throw wrong(
            path, "pattern, format, and lengths are not supported together; use a pattern alone");
      }
      return json.quoted(
          RegularExpression.somewhere(
              all, "schema" + path + "/pattern", expression.get(), json::written));
    }

    private int count(String keyword, int otherwise) {
      Optional<JsonNode> given = get(keyword);
      if (given.isEmpty()) {
        return otherwise;
      }
      JsonNode value = given.get();
      if (!is(value, "integer") || value.asDouble() < 0 || value.asDouble() > MOST_ITEMS) {
        throw wrong(path + "/" + keyword, "%s is no number from 0 to 1e9".formatted(value));
      }
      return value.decimalValue().intValueExact();
    }

    private boolean hasFormat(String name) {
      return get("format").filter(format -> format.asText().equals(name)).isPresent();
    }

    private Bounds bounds() {
      get("format"); // which says of numbers only how wide they are
      return new Bounds(
          bound("minimum", "exclusiveMinimum", 1), bound("maximum", "exclusiveMaximum", -1));
    }

    /**
     * A bound that belongs to what it bounds.
     *
     * @param inward the direction from it to what is within
     */
    private Optional<BigInteger> bound(String own, String exclusive, int inward) {
      Optional<BigInteger> included = get(own).map(value -> wholeNumber(own, value));
      Optional<BigInteger> excluded =
          get(exclusive)
              .map(value -> wholeNumber(exclusive, value).add(BigInteger.valueOf(inward)));
      if (excluded.isPresent() && types().contains("number")) {
        throw wrong(path + "/" + exclusive, "is supported for integers alone");
      }
      return included.isPresent() && excluded.isPresent()
          ? Optional.of(
              inward > 0 ? included.get().max(excluded.get()) : included.get().min(excluded.get()))
          : included.or(() -> excluded);
    }

    private BigInteger wholeNumber(String keyword, JsonNode value) {
      if (!is(value, "integer") || Math.abs(value.asDouble()) > 1e18) {
        throw wrong(
            path + "/" + keyword, "%s: whole numbers up to 1e18 are supported".formatted(value));
      }
      return value.decimalValue().toBigIntegerExact();
    }

    private Language array(int depth) {
      int least = count("minItems", 0);
      int most = count("maxItems", Languages.UNBOUNDED);
      get("uniqueItems")
          .filter(JsonNode::asBoolean)
          .ifPresent(
              _ -> {
                throw wrong(path + "/uniqueItems", "true is not supported; leave it out");
              });
      Language item =
          get("items")
              .map(items -> JsonSchema.this.read(items, path + "/items", depth + 1))
              .orElse(json.value);
      if (most < least) {
        return all.nothing;
      }
      return json.array(item, least, item == all.nothing ? 0 : most);
    }

    private Language object(int depth) {
      Optional<JsonNode> listed = get("properties");
      Optional<JsonNode> others = get("additionalProperties");
      Map<String, JsonNode> required = new LinkedHashMap<>();
      get("required").ifPresent(names -> names.forEach(name -> required.put(name.asText(), name)));
      if (listed.isEmpty() && required.isEmpty()) {
        Language of =
            others
                .map(
                    schema ->
                        JsonSchema.this.read(schema, path + "/additionalProperties", depth + 1))
                .orElse(json.value);
        return json.map(of);
      }
      List<Language> members = new ArrayList<>();
      List<Boolean> needed = new ArrayList<>();
      for (var property : listed.map(JsonNode::properties).orElse(Set.of())) {
        String name = property.getKey();
        Language value =
            JsonSchema.this.read(property.getValue(), path + "/properties/" + name, depth + 1);
        members.add(member(name, value));
        needed.add(required.remove(name) != null);
      }
      boolean open = others.map(schema -> schema.asBoolean(true)).orElse(true);
      for (String name : required.keySet()) {
        if (!open || others.filter(JsonNode::isObject).isPresent()) {
          throw wrong(path + "/required", "'%s' is no property that is listed".formatted(name));
        }
        members.add(member(name, json.value));
        needed.add(true);
      }
      if (members.size() > MOST_PROPERTIES) {
        throw wrong(path + "/properties", "are more than %d".formatted(MOST_PROPERTIES));
      }
      // From the last member on: what may follow behind some member, and where none was yet.
      Language behind = all.literal("}");
      Language begin = behind;
      for (int i = members.size() - 1; i >= 0; i--) {
        Language first = all.sequence(members.get(i), behind);
        Language next = all.sequence(all.literal(","), first);
        behind = needed.get(i) ? next : all.choice(List.of(next, behind));
        begin = needed.get(i) ? first : all.choice(List.of(first, begin));
      }
      return all.sequence(all.literal("{"), begin);
    }

    private Language member(String name, Language value) {
      return all.sequence(all.literal(TextNode.valueOf(name) + ":"), value);
    }

    private Language reference(String pointer) {
      Language known = references.get(pointer);
      if (known == null) {
        JsonNode target = target(pointer);
        known = all.rule("schema" + path + "/$ref " + pointer);
        references.put(pointer, known);
        all.define(known, JsonSchema.this.read(target, pointer, 0));
      }
      return known;
    }

    private JsonNode target(String pointer) {
      JsonNode found = JsonSchema.this.target(pointer);
      if (found.isMissingNode()) {
        throw wrong(
            path + "/$ref", "'%s' is not in this schema; use #/$defs/...".formatted(pointer));
      }
      return found;
    }
  }

  private JsonNode target(String pointer) {
    return pointer.equals("#")
        ? root
        : pointer.startsWith("#/") ? root.at(pointer.substring(1)) : MissingNode.getInstance();
  }

  private JsonNode resolved(JsonNode schema) {
    return schema.has("$ref") ? target(schema.get("$ref").asText()) : schema;
  }
}
