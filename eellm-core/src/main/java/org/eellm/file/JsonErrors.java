package org.eellm.file;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.exc.StreamConstraintsException;
import com.fasterxml.jackson.core.io.JsonEOFException;
import com.fasterxml.jackson.databind.JsonMappingException;
import com.fasterxml.jackson.databind.exc.MismatchedInputException;
import com.fasterxml.jackson.databind.exc.UnrecognizedPropertyException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** Says in words for people what is wrong with JSON; the parser's own are for its programmers. */
public final class JsonErrors {
  private static final int MAX_NAME = 60;

  /** The parser's messages about something that it shows. */
  private static final Pattern SHOWN =
      Pattern.compile(
          "(?s)(Duplicate field|Unrecognized token|Non-standard token|Unexpected character)"
              + " \\(?'(.*?)'.*");

  private static final Pattern MISSING =
      Pattern.compile("(?s)Missing (?:required )?creator property '(.*?)'.*");

  private JsonErrors() {}

  /** The reason of a failure, as a sentence about the text. */
  public static String reason(JsonProcessingException failure) {
    String said = failure.getOriginalMessage();
    return switch (failure) {
      case JsonEOFException _ -> "it ends too early";
      case StreamConstraintsException _ ->
          "it is nested too deep, or has too many values, or too long a name, text or number";
      case UnrecognizedPropertyException unknown ->
          "the key '%s' is unknown".formatted(Shown.of(unknown.getPropertyName(), MAX_NAME));
      case MismatchedInputException _ when said.startsWith("Trailing token") ->
          "something follows its one value";
      case MismatchedInputException _ when said.startsWith("No content") -> "it is empty";
      case JsonMappingException mapping -> mapping(mapping, said);
      default -> syntax(said);
    };
  }

  private static String mapping(JsonMappingException failure, String said) {
    Matcher missing = MISSING.matcher(said);
    if (missing.matches()) {
      return "the key '%s' is missing".formatted(Shown.of(missing.group(1), MAX_NAME));
    }
    String keys =
        failure.getPath().stream()
            .map(step -> step.getFieldName() == null ? "[]" : step.getFieldName())
            .collect(Collectors.joining("."));
    return keys.isEmpty()
        ? "it is of another form than such a file has"
        : "the value of '%s' is of another kind than it has to be"
            .formatted(Shown.of(keys, MAX_NAME));
  }

  private static String syntax(String said) {
    Matcher shown = SHOWN.matcher(said);
    if (shown.matches()) {
      String name = Shown.of(shown.group(2), MAX_NAME);
      return switch (shown.group(1)) {
        case "Duplicate field" -> "the key '%s' is there twice".formatted(name);
        case "Unexpected character" -> "the character '%s' is not expected".formatted(name);
        default -> "'%s' is no value of JSON".formatted(name);
      };
    }
    if (said.startsWith("Invalid UTF-8")) {
      return "it is not UTF-8 text";
    }
    if (said.startsWith("Invalid numeric value")) {
      return "a number is not written as in JSON";
    }
    if (said.startsWith("Unexpected close marker")) {
      return "a bracket is closed by one of another kind";
    }
    if (said.startsWith("Illegal unquoted character")) {
      return "a text has a control character; write it with a backslash, as \\n";
    }
    if (said.startsWith("Unrecognized character escape")) {
      return "a text has a backslash before a character that needs none";
    }
    return "it is malformed";
  }
}
