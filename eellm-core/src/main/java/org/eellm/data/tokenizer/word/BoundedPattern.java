package org.eellm.data.tokenizer.word;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.eellm.file.Shown;

/**
 * A regular expression of a tokenizer that takes time in proportion to any text's length.
 *
 * <p>The tokenizers library searches with Oniguruma, which goes back on its way where an expression
 * can match in several ways. That may take time without end, and where it has gone back ten million
 * times at one place of a text, the library ends the process. So only expressions are taken whose
 * form rules that out. Those of the known families have it:
 *
 * <ul>
 *   <li>Only a character or a class repeats without bound, never a group.
 *   <li>Where an alternative can still fail after such a run, as {@code \s*[\r\n]+} can, it has no
 *       other run before that, and the run itself is the next alternative, as {@code \s+}: what was
 *       looked at is then behind the search and not looked at again.
 *   <li>The ways through everything that is bounded are few, and no alternative matches nothing.
 * </ul>
 *
 * @param expression what the library is to search for
 * @param ways what has to be tried at a place of a text at most, runs apart
 */
public record BoundedPattern(String expression, int ways) {
  /** Characters of a text that one call may search; see {@link #MAX_RUN_WAYS}. */
  public static final int MAX_TEXT = 1 << 20;

  private static final int MAX_LENGTH = 10_000;
  private static final int MAX_DEPTH = 20;
  private static final int MAX_WAYS = 300;

  /** Ways that go back over a run; with {@link #MAX_TEXT} below the ten million. */
  private static final int MAX_RUN_WAYS = 8;

  /** Of DeepSeek's. A search tries it at every blank of a run, which the second form rules out. */
  private static final String BLANKS_AT_THE_END = "\\s+$";

  private static final String LINEAR_BLANKS_AT_THE_END = "(?<!\\s)\\s+$";

  /** Why an expression is not taken, as what is said behind it. */
  public static final class PatternException extends Exception {
    private PatternException(String message) {
      super(message);
    }

    static PatternException unbounded(String reason) {
      return new PatternException("may take time without end: it " + reason);
    }

    static PatternException invalid(String reason) {
      return new PatternException("cannot be read: it " + reason);
    }
  }

  /**
   * A part of an alternative.
   *
   * @param source its text
   * @param least characters that it takes; 0 if it can be passed over
   * @param run whether it takes as many characters as there are
   * @param checks whether it takes none but can fail
   * @param ways to take it
   */
  private record Part(String source, int least, boolean run, boolean checks, int ways) {
    boolean canFail() {
      return checks || least > 0;
    }
  }

  /**
   * An expression that may be searched for.
   *
   * @throws PatternException if it may take too long, or is of a form that is not known
   */
  public static BoundedPattern of(String expression) throws PatternException {
    if (expression.equals(BLANKS_AT_THE_END)) {
      return new BoundedPattern(LINEAR_BLANKS_AT_THE_END, 2);
    }
    if (expression.length() > MAX_LENGTH) {
      throw PatternException.unbounded("is longer than " + MAX_LENGTH + " characters");
    }
    return new BoundedPattern(expression, new Parser(expression).ways());
  }

  /** Takes an expression apart, as far as bounds need it. */
  private static final class Parser {
    private static final String QUANTIFIERS = "?*+{";
    private static final Set<String> GROUPS = Set.of("(?:", "(?i:", "(?=", "(?!", "(?>");
    private static final String CHARACTERS = "sSdDwWhHntrfvae"; // behind a backslash
    private static final String PLACES = "bBAzZ"; // the same

    private final String text;
    private int at;

    Parser(String text) {
      this.text = text;
    }

    int ways() throws PatternException {
      List<List<Part>> alternatives = alternatives(0);
      if (at < text.length()) {
        throw PatternException.invalid("has a ) without its (");
      }
      int runWays = 0;
      for (int i = 0; i < alternatives.size(); i++) {
        runWays += runWays(alternatives, i);
      }
      if (runWays > MAX_RUN_WAYS) {
        throw PatternException.unbounded("can go back over the same text in too many ways");
      }
      return ways(alternatives);
    }

    /** In how many ways an alternative goes back over a run, which a later one then takes. */
    private static int runWays(List<List<Part>> alternatives, int index) throws PatternException {
      List<Part> parts = alternatives.get(index);
      int last = lastThatFails(parts);
      List<Part> before = parts.subList(0, Math.max(last, 0));
      List<Part> runs = before.stream().filter(Part::run).toList();
      if (last < 0 || parts.stream().allMatch(part -> part.least == 0)) {
        throw PatternException.unbounded("has an alternative that matches nothing");
      }
      if (runs.isEmpty()) {
        return 0;
      }
      if (runs.size() > 1) {
        throw PatternException.unbounded("has two repetitions before something that can fail");
      }
      if (!isTaken(alternatives, index, before.indexOf(runs.getFirst()))) {
        throw PatternException.unbounded(
            "repeats %s before something that can fail, and has no next alternative that takes it"
                .formatted(Shown.of(runs.getFirst().source, 60)));
      }
      return ways(List.of(parts.subList(0, last + 1)));
    }

    private static int lastThatFails(List<Part> parts) {
      for (int i = parts.size() - 1; i >= 0; i--) {
        if (parts.get(i).canFail()) {
          return i;
        }
      }
      return -1;
    }

    /** Whether one of the next alternatives takes a run for sure, and those up to it begin so. */
    private static boolean isTaken(List<List<Part>> alternatives, int index, int run) {
      List<Part> parts = alternatives.get(index);
      for (List<Part> other : alternatives.subList(index + 1, alternatives.size())) {
        boolean same =
            other.size() > run
                && other.get(run).run
                && other.get(run).source.equals(parts.get(run).source)
                && other.subList(0, run).equals(parts.subList(0, run));
        if (!same) {
          return false;
        }
        if (other.get(run).least > 0 && lastThatFails(other) == run) {
          return true;
        }
      }
      return false;
    }

    private static int ways(List<List<Part>> alternatives) throws PatternException {
      long sum = 0;
      for (List<Part> parts : alternatives) {
        long product = 1;
        for (Part part : parts) {
          product = Math.min(product * part.ways, Integer.MAX_VALUE);
        }
        sum += product;
      }
      if (sum > MAX_WAYS) {
        throw PatternException.unbounded("can match in more than " + MAX_WAYS + " ways");
      }
      return (int) sum;
    }

    private List<List<Part>> alternatives(int depth) throws PatternException {
      if (depth > MAX_DEPTH) {
        throw PatternException.unbounded("has groups within groups beyond " + MAX_DEPTH);
      }
      List<List<Part>> alternatives = new ArrayList<>();
      List<Part> parts = new ArrayList<>();
      while (at < text.length() && text.charAt(at) != ')') {
        if (text.charAt(at) == '|') {
          at++;
          alternatives.add(parts);
          parts = new ArrayList<>();
        } else {
          parts.add(part(depth));
        }
      }
      alternatives.add(parts);
      return alternatives;
    }

    private Part part(int depth) throws PatternException {
      char first = text.charAt(at);
      int from = at;
      if (first == '(') {
        return group(depth);
      }
      if (first == '^' || first == '$') {
        at++;
        return check(from);
      }
      if (first == '\\' && at + 1 < text.length() && PLACES.indexOf(text.charAt(at + 1)) >= 0) {
        at += 2;
        return check(from);
      }
      character();
      return repeated(text.substring(from, at));
    }

    private Part check(int from) throws PatternException {
      requireNoQuantifier();
      return new Part(text.substring(from, at), 0, false, true, 1);
    }

    private Part group(int depth) throws PatternException {
      int from = at;
      String opening = "(";
      if (text.startsWith("(?", at)) {
        int colon = at + 3;
        opening = text.substring(at, Math.min(colon, text.length()));
        if (!GROUPS.contains(opening)) {
          opening = text.substring(at, Math.min(colon + 1, text.length()));
        }
        if (!GROUPS.contains(opening)) {
          throw PatternException.invalid("has the group %s, which is not known".formatted(opening));
        }
      }
      at += opening.length();
      List<List<Part>> alternatives = alternatives(depth + 1);
      if (at == text.length()) {
        throw PatternException.invalid("has a ( without its )");
      }
      at++;
      for (List<Part> parts : alternatives) {
        if (parts.stream().anyMatch(Part::run)) {
          throw PatternException.unbounded("repeats without bound in the group " + shown(from));
        }
      }
      int ways = ways(alternatives);
      if (opening.equals("(?=") || opening.equals("(?!")) {
        requireNoQuantifier();
        return new Part(text.substring(from, at), 0, false, true, ways);
      }
      boolean optional = at < text.length() && text.charAt(at) == '?';
      at += optional ? 1 : 0;
      requireNoQuantifier();
      int least = optional ? 0 : alternatives.stream().mapToInt(Parser::least).min().orElse(0);
      // A part that may match nothing and is no option can still fail.
      boolean checks = !optional && least == 0;
      return new Part(text.substring(from, at), least, false, checks, ways + (optional ? 1 : 0));
    }

    private static int least(List<Part> parts) {
      return parts.stream().mapToInt(Part::least).sum();
    }

    private void requireNoQuantifier() throws PatternException {
      if (at < text.length() && QUANTIFIERS.indexOf(text.charAt(at)) >= 0) {
        throw PatternException.unbounded(
            "repeats %s; a character or a class may repeat, and a group be optional"
                .formatted(shown(0)));
      }
    }

    private String shown(int from) {
      return Shown.of(text.substring(from, at), 60);
    }

    /** Reads a part that stands for one character of a text. */
    private void character() throws PatternException {
      switch (text.charAt(at)) {
        case '[' -> characterClass();
        case '\\' -> escape();
        case '?', '*', '+', '{' ->
            throw PatternException.invalid(
                "has a %c that repeats nothing".formatted(text.charAt(at)));
        default -> at += Character.charCount(text.codePointAt(at));
      }
    }

    private void characterClass() throws PatternException {
      int depth = 0;
      do {
        if (at >= text.length()) {
          throw PatternException.invalid("has a [ without its ]");
        }
        switch (text.charAt(at++)) {
          case '[' -> {
            depth++;
            at += text.startsWith("^", at) ? 1 : 0;
            if (text.startsWith("]", at)) {
              throw PatternException.invalid("has a class that begins with ]; write \\] for it");
            }
          }
          case ']' -> depth--;
          case '\\' -> at++;
          default -> {}
        }
      } while (depth > 0);
    }

    private void escape() throws PatternException {
      if (at + 1 >= text.length()) {
        throw PatternException.invalid("ends in a backslash");
      }
      char kind = text.charAt(at + 1);
      at += 2;
      switch (kind) {
        case 'p', 'P' -> braces();
        case 'x' -> {
          if (text.startsWith("{", at)) {
            braces();
          } else {
            hexadecimal(2);
          }
        }
        case 'u' -> hexadecimal(4);
        default -> {
          boolean word = Character.isLetterOrDigit(kind) || kind > '~';
          if (word && CHARACTERS.indexOf(kind) < 0) {
            throw PatternException.invalid("has \\%c, which is not known".formatted(kind));
          }
        }
      }
    }

    private void braces() throws PatternException {
      int end = text.indexOf('}', at);
      if (!text.startsWith("{", at) || end < 0) {
        throw PatternException.invalid("has an escape without its {}");
      }
      at = end + 1;
    }

    private void hexadecimal(int digits) throws PatternException {
      for (int i = 0; i < digits; i++, at++) {
        if (at >= text.length() || Character.digit(text.charAt(at), 16) < 0) {
          throw PatternException.invalid("has a character's number of too few digits");
        }
      }
    }

    /** A character with what says how often it may come. */
    private Part repeated(String source) throws PatternException {
      if (at == text.length() || QUANTIFIERS.indexOf(text.charAt(at)) < 0) {
        return new Part(source, 1, false, false, 1);
      }
      char quantifier = text.charAt(at);
      int least = quantifier == '+' ? 1 : 0;
      int most = quantifier == '?' ? 1 : Integer.MAX_VALUE;
      if (quantifier == '{') {
        int end = text.indexOf('}', at);
        String range = end < 0 ? "" : text.substring(at + 1, end);
        if (!range.matches("\\d{1,3}(,\\d{0,3})?")) {
          throw PatternException.invalid("has a { that is no count; write \\{ for the character");
        }
        String[] bounds = range.split(",", -1);
        least = Integer.parseInt(bounds[0]);
        most =
            bounds.length == 1
                ? least
                : bounds[1].isEmpty() ? Integer.MAX_VALUE : Integer.parseInt(bounds[1]);
        at = end + 1;
      } else {
        at++;
        at += text.startsWith("+", at) ? 1 : 0; // possessive: it goes back less
      }
      requireNoQuantifier();
      boolean run = most == Integer.MAX_VALUE;
      return new Part(source, least, run, false, run ? 1 : Math.max(most - least, 0) + 1);
    }
  }
}
