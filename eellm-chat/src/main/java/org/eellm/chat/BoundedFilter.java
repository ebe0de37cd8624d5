package org.eellm.chat;

import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.lib.filter.Filter;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.NullUnmarked;

/** A filter of Jinjava's whose result may be far longer than what goes in. */
@NullUnmarked // as the library is, which takes and gives null
record BoundedFilter(Filter filter) implements Filter {
  /** Those that have to be bounded. */
  static final Set<String> NAMES =
      Set.of("batch", "center", "format", "indent", "replace", "round", "sum");

  private static final Pattern WIDTH = Pattern.compile("\\d+");
  private static final Pattern EXPONENT = Pattern.compile("(?<=\\d[eE][+-]?)\\d+");

  @Override
  public String getName() {
    return filter.getName();
  }

  @Override
  public boolean preserveSafeString() {
    return filter.preserveSafeString();
  }

  @Override
  public Object filter(Object value, JinjavaInterpreter interpreter, String... arguments) {
    require(String.valueOf(value), Arrays.stream(arguments));
    return filter.filter(value, interpreter, arguments);
  }

  @Override
  public Object filter(
      Object value, JinjavaInterpreter interpreter, Object[] arguments, Map<String, Object> named) {
    require(
        String.valueOf(value), Stream.concat(Arrays.stream(arguments), named.values().stream()));
    return filter.filter(value, interpreter, arguments, named);
  }

  private void require(String value, Stream<?> arguments) {
    String[] given = arguments.map(String::valueOf).toArray(String[]::new);
    String all = String.join(" ", given);
    switch (getName()) {
      case "replace" -> {
        if (given.length > 1) {
          TemplateBounds.requireReplaced(value, given[0], given[1]);
        }
      }
      case "indent" -> TemplateBounds.requireLength(largest(WIDTH, all) * count(value, '\n'));
      case "format" -> TemplateBounds.requireLength(largest(WIDTH, value) * count(value, '%'));
      case "round" ->
          TemplateBounds.requireDigits(Math.max(largest(WIDTH, all), largest(EXPONENT, value)));
      case "sum" -> TemplateBounds.requireDigits(largest(EXPONENT, value));
      default -> TemplateBounds.requireLength(largest(WIDTH, all));
    }
  }

  private static double largest(Pattern number, String text) {
    return number
        .matcher(text)
        .results()
        .map(MatchResult::group)
        .mapToDouble(Double::parseDouble)
        .max()
        .orElse(0);
  }

  /** Of a character, and once more for what comes before the first. */
  private static double count(String text, char character) {
    return 1 + text.chars().filter(c -> c == character).count();
  }
}
