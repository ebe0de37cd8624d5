package org.eellm.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The Javadoc comment of a type, from its source: what reflection does not know.
 *
 * @param summary the text before the first tag; empty if there is no comment
 * @param parameters the text of each {@code @param}
 */
record SourceComments(String summary, Map<String, String> parameters) {
  private static final Pattern BETWEEN =
      Pattern.compile(
          "(?:\\s|public|sealed|static|final|@\\w+(?:\\((?:[^()]|\\([^()]*\\))*\\))?)*");
  private static final Pattern PARAMETER = Pattern.compile("@param (\\w+) ");
  private static final Pattern CODE = Pattern.compile("\\{@code ([^}]*)}");
  private static final Pattern VALUE = Pattern.compile("\\{@value #(\\w+)}");
  private static final Pattern CAMEL_CASE =
      Pattern.compile("\\b(?!arXiv)[a-z]+(?:[A-Z][a-z]+)+\\b");
  private static final Pattern CONSTANT = Pattern.compile("\\b[A-Z][A-Z0-9_]+\\b");

  /** The comment of a record, an enum or an interface. */
  static SourceComments of(Class<?> type) throws IOException {
    String source = Files.readString(file(type));
    Matcher declaration =
        Pattern.compile("\\b(?:record|enum|interface) " + type.getSimpleName() + "\\b")
            .matcher(source);
    if (!declaration.find()) {
      throw new IllegalStateException(type + " is not declared in its source");
    }
    int end = source.lastIndexOf("*/", declaration.start());
    int start = source.lastIndexOf("/**", declaration.start());
    if (end < 0
        || !BETWEEN.matcher(source.substring(end + 2, declaration.start())).matches()
        || start < 0) {
      return new SourceComments("", Map.of());
    }
    String text =
        source.substring(start + 3, end).replaceAll("(?:\\s*\\n\\s*\\*?[ \\t]*)+", " ").strip();
    return parse(text, type);
  }

  /** The text of a component. */
  Optional<String> parameter(String name) {
    return Optional.ofNullable(parameters.get(name));
  }

  private static Path file(Class<?> type) {
    String path = type.getName().replaceFirst("\\$.*", "").replace('.', '/') + ".java";
    return RepositoryFiles.javaSources().stream()
        .filter(file -> file.endsWith(path))
        .findFirst()
        .orElseThrow(() -> new IllegalStateException(type + " has no source " + path));
  }

  private static SourceComments parse(String text, Class<?> type) {
    Map<String, String> parameters = new LinkedHashMap<>();
    Matcher tag = PARAMETER.matcher(text);
    int summaryEnd = text.length();
    String name = "";
    int from = 0;
    while (tag.find()) {
      if (name.isEmpty()) {
        summaryEnd = tag.start();
      } else {
        parameters.put(name, markdown(text.substring(from, tag.start()), type));
      }
      name = tag.group(1);
      from = tag.end();
    }
    if (!name.isEmpty()) {
      parameters.put(name, markdown(text.substring(from), type));
    }
    return new SourceComments(markdown(text.substring(0, summaryEnd), type), parameters);
  }

  /** A comment's text for a page: settings have their YAML names, constants their YAML values. */
  private static String markdown(String text, Class<?> type) {
    String plain = replaceAll(VALUE, text.strip(), match -> constant(type, match.group(1)));
    plain = replaceAll(CODE, plain, match -> "`" + match.group(1).strip() + "`");
    plain = replaceAll(CAMEL_CASE, plain, match -> snakeCase(match.group()));
    if (type.isEnum()) {
      plain =
          replaceAll(
              CONSTANT,
              plain,
              match -> isConstant(type, match) ? lowerCode(match.group()) : match.group());
    }
    return plain;
  }

  private static boolean isConstant(Class<?> type, MatchResult match) {
    for (Object constant : type.getEnumConstants()) {
      if (((Enum<?>) constant).name().equals(match.group())) {
        return true;
      }
    }
    return false;
  }

  private static String lowerCode(String constant) {
    return "`" + constant.toLowerCase(Locale.ROOT) + "`";
  }

  private static String constant(Class<?> type, String name) {
    try {
      return String.valueOf(type.getField(name).get(null));
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(type + " has no constant " + name, e);
    }
  }

  private static String replaceAll(
      Pattern pattern, String text, Function<MatchResult, String> with) {
    return pattern.matcher(text).replaceAll(match -> Matcher.quoteReplacement(with.apply(match)));
  }

  /** A component's key in YAML: {@code hidden_size} for {@code hiddenSize}. */
  static String snakeCase(String camelCase) {
    return camelCase.replaceAll("[A-Z]", "_$0").toLowerCase(Locale.ROOT);
  }
}
