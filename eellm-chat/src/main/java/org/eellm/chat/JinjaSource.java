package org.eellm.chat;

import java.util.Set;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Jinja as Hugging Face's templates are written, in the dialect that Jinjava renders.
 *
 * <p>Jinjava does not take whitespace away as Jinja does, so it is done here, with the settings
 * that the templates are made for: a line break after a block goes, and blanks in front of one that
 * begins a line ({@code trim_blocks}, {@code lstrip_blocks}).
 */
final class JinjaSource {
  /** A tag, with quoted texts in it, which may have the tag's end in them. */
  private static final Pattern TAG =
      Pattern.compile(
          "\\{\\{(?:'(?:\\\\.|[^'\\\\])*'|\"(?:\\\\.|[^\"\\\\])*\"|[^'\"])*?\\}\\}"
              + "|\\{%(?:'(?:\\\\.|[^'\\\\])*'|\"(?:\\\\.|[^\"\\\\])*\"|[^'\"])*?%\\}"
              + "|\\{#.*?#\\}",
          Pattern.DOTALL);

  private static final Pattern QUOTED =
      Pattern.compile("'(?:\\\\.|[^'\\\\])*'|\"(?:\\\\.|[^\"\\\\])*\"");

  private static final Pattern FILTER = Pattern.compile("\\|\\s*([A-Za-z_]\\w*)");

  /** Jinjava takes {@code a=b|length - 1} as {@code (a=b|length) - 1}. */
  private static final Pattern NAMESPACE = Pattern.compile("namespace\\((.+)\\)");

  private static final Pattern OUTER_COMMA = Pattern.compile(",(?![^(\\[]*[)\\]])");

  private static final Pattern REVERSED = Pattern.compile("([\\w.]+)\\[::-1\\]");

  /** Jinjava takes {@code not a == b} as {@code (not a) == b}. */
  private static final Pattern NEGATED =
      Pattern.compile(
          "\\bnot\\s+([\\w.]+(?:\\[[^\\[\\]]*\\])*(?:\\s*\\|\\s*\\w+)*\\s*(?:==|!=|<=|>=|<|>)\\s*"
              + "(?:[\\w.]+|'[^']*'|\"[^\"]*\"))");

  /** Marks what a model is to learn, which matters in training only. */
  private static final Pattern GENERATION = Pattern.compile("\\{%\\s*(end)?generation\\s*%\\}");

  private JinjaSource() {}

  /** The template with Jinja's whitespace control carried out. */
  static String withoutWhitespaceControl(String template) {
    StringBuilder result = new StringBuilder();
    Matcher tag = TAG.matcher(template);
    int done = 0;
    boolean trimAll = false;
    boolean trimLine = false;
    while (tag.find()) {
      String inner = tag.group().substring(2, tag.group().length() - 2);
      boolean expression = tag.group().startsWith("{{");
      boolean comment = tag.group().startsWith("{#");
      String text = begin(template.substring(done, tag.start()), trimAll, trimLine);
      result.append(end(text, inner.startsWith("-"), !expression && !inner.startsWith("+")));
      trimAll = inner.endsWith("-");
      trimLine = !expression && !inner.endsWith("+");
      done = tag.end();
      if (!comment) {
        String body = inner.replaceFirst("^[-+]", "").replaceFirst("[-+]$", "");
        String plain = REVERSED.matcher(body).replaceAll("($1|reverse)");
        String code =
            NAMESPACE
                .matcher(NEGATED.matcher(plain).replaceAll("not ($1)"))
                .replaceAll(
                    call ->
                        Matcher.quoteReplacement(
                            "namespace(" + withParentheses(call.group(1)) + ")"));
        String whole = expression ? "{{" + code + "}}" : "{%" + code + "%}";
        result.append(GENERATION.matcher(whole).replaceAll(""));
      }
    }
    String rest = begin(template.substring(done), trimAll, trimLine);
    return result
        .append(rest.endsWith("\n") ? rest.substring(0, rest.length() - 1) : rest)
        .toString();
  }

  private static String withParentheses(String arguments) {
    return OUTER_COMMA
        .splitAsStream(arguments)
        .map(argument -> argument.replaceFirst("=\\s*(.+)", "=($1)"))
        .collect(Collectors.joining(","));
  }

  /** Names of the filters that a template uses. */
  static Set<String> filters(String template) {
    return TAG.matcher(template)
        .results()
        .map(MatchResult::group)
        .filter(tag -> !tag.startsWith("{#"))
        .flatMap(tag -> FILTER.matcher(QUOTED.matcher(tag).replaceAll("''")).results())
        .map(filter -> filter.group(1))
        .collect(Collectors.toCollection(TreeSet::new));
  }

  private static String begin(String text, boolean trimAll, boolean trimLine) {
    if (trimAll) {
      return text.stripLeading();
    }
    return trimLine && text.startsWith("\n") ? text.substring(1) : text;
  }

  private static String end(String text, boolean trimAll, boolean trimLine) {
    if (trimAll) {
      return text.stripTrailing();
    }
    return trimLine ? text.replaceFirst("(?<=^|\\n)[ \\t]+$", "") : text;
  }
}
