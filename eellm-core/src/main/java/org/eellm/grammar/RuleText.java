package org.eellm.grammar;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads rules in llama.cpp's notation, GBNF: {@code name ::= "text" [a-z] other-rule (group | of
 * alternatives)* }, with {@code ? + {2,5}} and comments from {@code #} on. A rule goes on until the
 * next {@code name ::=}.
 */
final class RuleText {
  private static final int MOST_RULES = 2_000;
  private static final int MOST_DEPTH = 200;
  private static final String ROOT = "root";

  private final Languages all;
  private final String text;
  private final Map<String, Language> rules = new HashMap<>();
  private int at;
  private int depth;

  private RuleText(Languages all, String text) {
    this.all = all;
    this.text = text;
  }

  static Language read(Languages all, String text) {
    return new RuleText(all, text).read();
  }

  private Language read() {
    Map<String, Language> defined = new LinkedHashMap<>();
    skip();
    while (at < text.length()) {
      String name = name();
      skip();
      if (name.isEmpty() || !text.startsWith("::=", at)) {
        throw wrong("a rule has no name and ::=");
      }
      at += 3;
      Language body = alternatives();
      if (defined.put(name, body) != null) {
        throw wrong("rule '%s' is defined twice".formatted(name));
      }
      all.define(rule(name), body);
    }
    if (!defined.containsKey(ROOT)) {
      throw wrong("no rule is called root");
    }
    return rule(ROOT);
  }

  private Language rule(String name) {
    if (rules.size() > MOST_RULES) {
      throw wrong("it has more than %,d rules".formatted(MOST_RULES));
    }
    return rules.computeIfAbsent(name, each -> all.rule("grammar: rule " + each));
  }

  private Language alternatives() {
    if (++depth > MOST_DEPTH) {
      throw wrong("groups lie deeper than %d".formatted(MOST_DEPTH));
    }
    List<Language> alternatives = new ArrayList<>();
    do {
      alternatives.add(sequence());
    } while (accept('|'));
    depth--;
    return all.choice(alternatives);
  }

  private Language sequence() {
    List<Language> parts = new ArrayList<>();
    skip();
    while (at < text.length() && "|)".indexOf(text.charAt(at)) < 0 && !beginsRule()) {
      parts.add(repeated(item()));
      skip();
    }
    return all.sequence(parts.toArray(Language[]::new));
  }

  private boolean beginsRule() {
    int before = at;
    boolean named = !name().isEmpty();
    skip();
    boolean begins = named && text.startsWith("::=", at);
    at = before;
    return begins;
  }

  private Language item() {
    char next = text.charAt(at);
    if (accept('(')) {
      Language group = alternatives();
      if (!accept(')')) {
        throw wrong("a group is not closed");
      }
      return group;
    }
    if (next == '"') {
      return literal();
    }
    if (next == '.') {
      at++;
      return CodePoints.ALL.utf8(all);
    }
    if (next == '[') {
      int end = endOfClass();
      String expression = text.substring(at, end);
      at = end;
      return RegularExpression.whole(all, "grammar", expression);
    }
    String name = name();
    if (name.isEmpty()) {
      throw wrong("'%s' is not understood".formatted(next));
    }
    return rule(name);
  }

  private int endOfClass() {
    int end = at + 1;
    while (end < text.length() && text.charAt(end) != ']') {
      end += text.charAt(end) == '\\' ? 2 : 1;
    }
    if (end >= text.length()) {
      throw wrong("a class is not closed");
    }
    return end + 1;
  }

  private Language literal() {
    StringBuilder content = new StringBuilder();
    int end = at + 1;
    while (end < text.length() && text.charAt(end) != '"') {
      char next = text.charAt(end++);
      if (next == '\\' && end < text.length()) {
        char escaped = text.charAt(end++);
        int digits = escaped == 'x' ? 2 : escaped == 'u' ? 4 : escaped == 'U' ? 8 : 0;
        if (digits == 0) {
          content.append(
              switch (escaped) {
                case 'n' -> '\n';
                case 'r' -> '\r';
                case 't' -> '\t';
                default -> escaped;
              });
        } else {
          content.appendCodePoint(hexadecimal(end, digits));
          end += digits;
        }
      } else {
        content.append(next);
      }
    }
    if (end >= text.length()) {
      throw wrong("a text is not closed");
    }
    at = end + 1;
    return all.literal(content.toString());
  }

  private int hexadecimal(int from, int digits) {
    String number = text.substring(from, Math.min(text.length(), from + digits));
    if (!number.matches("[0-9a-fA-F]{%d}".formatted(digits))
        || !Character.isValidCodePoint(Integer.parseUnsignedInt(number, 16))) {
      throw wrong("'%s' is no character".formatted(number));
    }
    return Integer.parseUnsignedInt(number, 16);
  }

  private Language repeated(Language item) {
    skip();
    if (accept('*')) {
      return all.repeat(item, 0, Languages.UNBOUNDED);
    }
    if (accept('+')) {
      return all.repeat(item, 1, Languages.UNBOUNDED);
    }
    if (accept('?')) {
      return all.repeat(item, 0, 1);
    }
    if (at < text.length() && text.charAt(at) == '{') {
      int end = text.indexOf('}', at);
      String counts = end < 0 ? "" : text.substring(at + 1, end).replace(" ", "");
      if (!counts.matches("[0-9]{1,6}(,[0-9]{0,6})?")) {
        throw wrong("a number of repetitions is no {2}, {2,} or {2,5}");
      }
      at = end + 1;
      int comma = counts.indexOf(',');
      int least = Integer.parseInt(comma < 0 ? counts : counts.substring(0, comma));
      int most =
          comma < 0
              ? least
              : comma == counts.length() - 1
                  ? Languages.UNBOUNDED
                  : Integer.parseInt(counts.substring(comma + 1));
      return most < least ? all.nothing : all.repeat(item, least, most);
    }
    return item;
  }

  private String name() {
    int begin = at;
    while (at < text.length()
        && (Character.isLetterOrDigit(text.charAt(at)) || "-_".indexOf(text.charAt(at)) >= 0)) {
      at++;
    }
    return text.substring(begin, at);
  }

  private boolean accept(char wanted) {
    skip();
    boolean there = at < text.length() && text.charAt(at) == wanted;
    at += there ? 1 : 0;
    return there;
  }

  /** Passes blanks, line ends and comments. */
  private void skip() {
    while (at < text.length()) {
      char next = text.charAt(at);
      if (next == '#') {
        int end = text.indexOf('\n', at);
        at = end < 0 ? text.length() : end;
      } else if (Character.isWhitespace(next)) {
        at++;
      } else {
        return;
      }
    }
  }

  private GrammarException wrong(String problem) {
    long line = text.substring(0, Math.min(at, text.length())).lines().count();
    return new GrammarException("grammar", "%s (line %d)".formatted(problem, Math.max(1, line)));
  }
}
