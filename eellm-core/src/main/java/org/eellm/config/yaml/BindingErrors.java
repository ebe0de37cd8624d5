package org.eellm.config.yaml;

import static java.util.stream.Collectors.joining;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.exc.InputCoercionException;
import com.fasterxml.jackson.databind.EnumNamingStrategies;
import com.fasterxml.jackson.databind.JsonMappingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.exc.InvalidTypeIdException;
import com.fasterxml.jackson.databind.exc.MismatchedInputException;
import com.fasterxml.jackson.databind.exc.UnrecognizedPropertyException;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.eellm.config.ConfigException;
import org.eellm.config.RopeScaling;
import org.eellm.file.JsonErrors;
import org.eellm.file.Shown;
import org.jspecify.annotations.Nullable;

/**
 * Says in one line why a tree could not be bound: the place, the key, the value, and the remedy.
 *
 * @param tree what was bound
 * @param places where the values at dotted paths were written; at the empty one, where all were
 * @param defaults the tree of all keys, to suggest from
 */
record BindingErrors(JsonNode tree, Map<String, String> places, JsonNode defaults) {

  ConfigException explain(JsonProcessingException error) {
    for (Throwable cause = error.getCause(); cause != null; cause = cause.getCause()) {
      if (cause instanceof ConfigException refusal) {
        return located(refusal);
      }
    }
    String path = error instanceof JsonMappingException mapping ? dotted(mapping.getPath()) : "";
    String message =
        switch (error) {
          case UnrecognizedPropertyException unknown -> "unknown key" + suggestion(unknown, path);
          case InvalidTypeIdException _ -> typeMessage(path);
          case MismatchedInputException mismatch -> valueMessage(path, mismatch.getTargetType());
          case JsonMappingException e
              when e.getCause() instanceof InputCoercionException overflow ->
              valueMessage(path, overflow.getTargetType());
          default -> Shown.of(valueAt(path)) + " cannot be used: " + JsonErrors.reason(error);
        };
    String line = nearestPlace(path) + path + ": " + message;
    return new ConfigException(line.replaceAll("\\p{Cntrl}", "?"), error);
  }

  /** A record's own refusal begins with the key; the place goes before it if the user set it. */
  private ConfigException located(ConfigException refusal) {
    String message = String.valueOf(refusal.getMessage());
    String place = places.get(message.substring(0, Math.max(message.indexOf(": "), 0)));
    return place == null ? refusal : new ConfigException(place + ": " + message, refusal);
  }

  private String nearestPlace(String path) {
    for (String at = path; !at.isEmpty(); at = parent(at)) {
      String place = places.get(at);
      if (place != null) {
        return place + ": ";
      }
    }
    String whole = places.get("");
    return whole == null ? "" : whole + ": ";
  }

  private String valueMessage(String path, @Nullable Class<?> wanted) {
    JsonNode value = valueAt(path);
    if (value.isMissingNode()) {
      return "is missing; give it";
    }
    if (value.isNull()) {
      return "has no value; give one or remove the key";
    }
    return Shown.of(value) + " is not " + description(wanted);
  }

  private String typeMessage(String path) {
    JsonNode value = valueAt(path);
    if (!value.isObject()) {
      return valueMessage(path, RopeScaling.class);
    }
    JsonNode type = value.path("type");
    String types =
        Arrays.stream(RopeScaling.class.getPermittedSubclasses())
            .map(kind -> kind.getSimpleName().toLowerCase(Locale.ROOT))
            .collect(joining(", "));
    return (type.isMissingNode() ? "type is missing" : Shown.of(type) + " is not a type")
        + "; use one of "
        + types;
  }

  private static String description(@Nullable Class<?> type) {
    if (type == null) {
      return "of the right type";
    }
    if (type.isEnum()) {
      return Arrays.stream(type.getEnumConstants())
          .map(constant -> ((Enum<?>) constant).name())
          .map(EnumNamingStrategies.SNAKE_CASE::convertEnumToExternalName)
          .collect(joining(", ", "one of ", ""));
    }
    if (type == int.class || type == Integer.class) {
      return "a whole number below 2^31";
    }
    if (type == long.class || type == Long.class) {
      return "a whole number";
    }
    if (type == double.class || type == Double.class) {
      return "a number";
    }
    if (type == boolean.class || type == Boolean.class) {
      return "true or false";
    }
    if (type == String.class) {
      return "text; put it in quotes";
    }
    if (Collection.class.isAssignableFrom(type)) {
      return "a list; write it as [a, b]";
    }
    return "a mapping of keys to values";
  }

  private String suggestion(UnrecognizedPropertyException error, String path) {
    String key = error.getPropertyName();
    List<String> siblings =
        error.getKnownPropertyIds().stream().map(String::valueOf).sorted().toList();
    Optional<String> nearest =
        siblings.stream()
            .filter(sibling -> EditDistance.between(key, sibling) <= Math.max(2, key.length() / 4))
            .min(Comparator.comparingInt(sibling -> EditDistance.between(key, sibling)));
    if (nearest.isPresent()) {
      String parent = parent(path);
      return "; did you mean " + (parent.isEmpty() ? "" : parent + ".") + nearest.get() + "?";
    }
    List<String> elsewhere =
        paths(defaults, "").filter(known -> known.endsWith("." + key)).toList();
    if (!elsewhere.isEmpty()) {
      return "; did you mean " + String.join(" or ", elsewhere) + "?";
    }
    return siblings.isEmpty() ? "; remove it" : "; known here: " + String.join(", ", siblings);
  }

  private static Stream<String> paths(JsonNode node, String prefix) {
    return node.properties().stream()
        .flatMap(
            entry -> {
              String path = prefix + entry.getKey();
              return Stream.concat(Stream.of(path), paths(entry.getValue(), path + "."));
            });
  }

  private JsonNode valueAt(String path) {
    String pointer = "/" + path.replaceAll("\\[(\\d+)]", "/$1").replace('.', '/');
    return tree.at(pointer);
  }

  private static String parent(String path) {
    return path.substring(0, Math.max(Math.max(path.lastIndexOf('.'), path.lastIndexOf('[')), 0));
  }

  private static String dotted(List<JsonMappingException.Reference> path) {
    StringBuilder dotted = new StringBuilder();
    for (JsonMappingException.Reference step : path) {
      if (step.getFieldName() == null) {
        dotted.append('[').append(step.getIndex()).append(']');
      } else {
        dotted.append(dotted.isEmpty() ? "" : ".").append(step.getFieldName());
      }
    }
    return dotted.toString();
  }
}
