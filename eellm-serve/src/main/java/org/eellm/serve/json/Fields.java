package org.eellm.serve.json;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.BiFunction;
import java.util.stream.Collectors;

/**
 * The fields of a JSON object, each asked for by name and checked. What nobody has asked for in the
 * end is refused. {@code null} is as good as absent.
 */
public final class Fields {
  private final ObjectNode object;
  private final String path;
  private final Set<String> asked = new TreeSet<>();
  private final Set<String> refused = new TreeSet<>();

  /**
   * @param path in front of the fields' names in messages: empty, or {@code early_exit.}
   */
  public Fields(ObjectNode object, String path) {
    this.object = object;
    this.path = path;
  }

  /** A field's full name. */
  public String name(String field) {
    return path + field;
  }

  public Optional<JsonNode> get(String field) {
    asked.add(field);
    JsonNode value = object.path(field);
    return value.isMissingNode() || value.isNull() ? Optional.empty() : Optional.of(value);
  }

  private <T> Optional<T> get(String field, BiFunction<String, JsonNode, T> reader) {
    return get(field).map(value -> reader.apply(name(field), value));
  }

  public Optional<Boolean> bool(String field) {
    return get(
        field,
        (name, value) -> {
          if (!value.isBoolean()) {
            throw wrong(name, value, "true or false");
          }
          return value.booleanValue();
        });
  }

  public Optional<String> text(String field) {
    return get(field, Fields::text);
  }

  private static String text(String name, JsonNode value) {
    if (!value.isTextual()) {
      throw wrong(name, value, "a string");
    }
    return value.textValue();
  }

  public Optional<Integer> integer(String field, int least, int most) {
    return get(field, (name, value) -> integer(name, value, least, most));
  }

  public static int integer(String name, JsonNode value, int least, int most) {
    if (!value.isIntegralNumber()
        || !value.canConvertToInt()
        || value.intValue() < least
        || value.intValue() > most) {
      String range =
          most == Integer.MAX_VALUE
              ? "a whole number of " + least + " or more"
              : "a whole number in %d..%d".formatted(least, most);
      throw wrong(name, value, range);
    }
    return value.intValue();
  }

  public Optional<Long> wholeNumber(String field) {
    return get(
        field,
        (name, value) -> {
          if (!value.isIntegralNumber() || !value.canConvertToLong()) {
            throw wrong(name, value, "a whole number of 64 bits");
          }
          return value.longValue();
        });
  }

  /** A number from {@code least} to {@code most}, both included. */
  public Optional<Double> number(String field, double least, double most) {
    return get(field, (name, value) -> number(name, value, least, most));
  }

  public static double number(String name, JsonNode value, double least, double most) {
    double number = value.doubleValue();
    if (!value.isNumber() || !(number >= least && number <= most) || !Double.isFinite(number)) {
      boolean bounded = Double.isFinite(least) && most < Double.MAX_VALUE;
      throw wrong(
          name,
          value,
          bounded
              ? "a number in %s..%s".formatted(plain(least), plain(most))
              : Double.isFinite(least) ? "a number of " + plain(least) + " or more" : "a number");
    }
    return number;
  }

  private static String plain(double number) {
    if (number == Double.MIN_VALUE) {
      return "(above 0)";
    }
    return number == Math.rint(number) ? Long.toString((long) number) : Double.toString(number);
  }

  /** A list, read item by item under its name, as {@code messages[3]}. */
  public <T> Optional<List<T>> list(String field, BiFunction<String, JsonNode, T> reader) {
    return get(
        field,
        (name, value) -> {
          if (!value.isArray()) {
            throw wrong(name, value, "a list");
          }
          return items(name, value, reader);
        });
  }

  public static <T> List<T> items(
      String name, JsonNode array, BiFunction<String, JsonNode, T> reader) {
    List<T> items = new ArrayList<>();
    for (JsonNode item : array) {
      items.add(reader.apply("%s[%d]".formatted(name, items.size()), item));
    }
    return items;
  }

  public Optional<List<String>> texts(String field) {
    return list(field, Fields::text);
  }

  /** An object's fields. */
  public Optional<Fields> fields(String field) {
    return get(field, Fields::of);
  }

  /** The fields of an object that has this name. */
  public static Fields of(String name, JsonNode value) {
    if (value instanceof ObjectNode inner) {
      return new Fields(inner, name + ".");
    }
    throw wrong(name, value, "an object");
  }

  /** One of an enumeration's values by their names. */
  public <T extends Enum<?>> Optional<T> choice(String field, List<T> values) {
    return text(field)
        .map(
            text -> {
              for (T value : values) {
                if (value.toString().equals(text)) {
                  return value;
                }
              }
              String all = values.stream().map(Enum::toString).collect(Collectors.joining(", "));
              throw ApiException.badField(
                  name(field), "'%s' is unknown; use one of %s".formatted(shown(text), all));
            });
  }

  /** Refuses a field that the server does not offer, whatever its value. */
  public void refuse(String field, String reason) {
    refused.add(field);
    if (get(field).isPresent()) {
      throw ApiException.badField(name(field), reason);
    }
  }

  /** Refuses what has not been asked for; null is the same as absent everywhere. */
  public void requireNoOthers() {
    Set<String> offered = new TreeSet<>(asked);
    offered.removeAll(refused);
    for (Map.Entry<String, JsonNode> field : object.properties()) {
      if (!asked.contains(field.getKey()) && !field.getValue().isNull()) {
        throw ApiException.badField(
            name(shown(field.getKey())),
            "is no field of this request; leave it out, or use one of "
                + String.join(", ", offered));
      }
    }
  }

  public static ApiException wrong(String name, JsonNode value, String wanted) {
    return ApiException.badField(name, "%s is not %s".formatted(shown(value.toString()), wanted));
  }

  /** Text of a client's, cut and without what would break a line. */
  public static String shown(String text) {
    return line(text.length() > 60 ? text.substring(0, 57) + "..." : text);
  }

  /** A text without what would break a line. */
  public static String line(String text) {
    return text.replaceAll("[\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}]", "?");
  }
}
