package org.eellm.grammar;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.eellm.grammar.CodePoints.Range;

/**
 * Reads a regular expression in the syntax that JSON Schema and Java share: characters, classes,
 * groups, alternatives, repetitions, and anchors at the ends of alternatives. What no automaton can
 * do (references to groups, looking around) or is not offered (word boundaries, Unicode's
 * properties) is refused by name.
 */
final class RegularExpression {
  private static final int MOST_REPETITIONS = 10_000;
  private static final int MOST_DEPTH = 200;
  private static final int END = -1;

  private static final CodePoints DIGITS = CodePoints.of('0', '9');
  private static final CodePoints WORD =
      DIGITS.or(CodePoints.of('a', 'z')).or(CodePoints.of('A', 'Z')).or(CodePoints.of("_"));
  private static final CodePoints SPACE =
      CodePoints.of(" \t\n\u000B\f\r\u00A0\u1680\u2028\u2029\u202F\u205F\u3000\uFEFF")
          .or(CodePoints.of(0x2000, 0x200A));
  private static final CodePoints LINE_ENDS = CodePoints.of("\n\r\u2028\u2029");

  private final Languages all;
  private final String place;
  private final int[] pattern;
  private final Function<CodePoints, Language> written;
  private int at;
  private int depth;

  private RegularExpression(
      Languages all, String place, String pattern, Function<CodePoints, Language> written) {
    this.all = all;
    this.place = place;
    this.pattern = pattern.codePoints().toArray();
    this.written = written;
  }

  /** The texts that match as a whole. */
  static Language whole(Languages all, String place, String pattern) {
    return new RegularExpression(all, place, pattern, set -> set.utf8(all)).read(all.empty);
  }

  /**
   * The texts that match somewhere.
   *
   * @param written how a character of a set is written there
   */
  static Language somewhere(
      Languages all, String place, String pattern, Function<CodePoints, Language> written) {
    Language any = all.repeat(written.apply(CodePoints.ALL), 0, Languages.UNBOUNDED);
    return new RegularExpression(all, place, pattern, written).read(any);
  }

  /**
   * @param around what may be before and behind, where no anchor is
   */
  private Language read(Language around) {
    List<Language> alternatives = new ArrayList<>();
    do {
      boolean fromStart = accept('^');
      Language body = sequence();
      boolean toEnd = accept('$');
      alternatives.add(
          all.sequence(fromStart ? all.empty : around, body, toEnd ? all.empty : around));
    } while (accept('|'));
    if (at < pattern.length) {
      throw wrong(
          switch (peek()) {
            case ')' -> "a group is closed that was not opened";
            case '^', '$' -> "an anchor is offered at the ends of the whole pattern alone";
            default -> "is not understood";
          });
    }
    return all.choice(alternatives);
  }

  private Language sequence() {
    List<Language> parts = new ArrayList<>();
    while (at < pattern.length && "|)$".indexOf(peek()) < 0) {
      parts.add(repeated(atom()));
    }
    return all.sequence(parts.toArray(Language[]::new));
  }

  private Language repeated(Language atom) {
    Language result = atom;
    int most = Languages.UNBOUNDED;
    switch (peek()) {
      case '*' -> result = all.repeat(atom, 0, most);
      case '+' -> result = all.repeat(atom, 1, most);
      case '?' -> result = all.repeat(atom, 0, 1);
      case '{' -> {
        at++;
        int least = number();
        most = accept(',') ? peek() == '}' ? most : number() : least;
        if (peek() != '}' || most < least) {
          throw wrong("a number of repetitions is no {2}, {2,} or {2,5}");
        }
        result = all.repeat(atom, least, most);
      }
      default -> {
        return atom;
      }
    }
    at++;
    accept('?'); // fewest first is the same language
    if (at < pattern.length && "*+{".indexOf(peek()) >= 0) {
      throw wrong("a repetition is repeated; put it into a group");
    }
    return result;
  }

  private int number() {
    int value = 0;
    int begin = at;
    while (Character.isDigit(peek()) && value <= MOST_REPETITIONS) {
      value = 10 * value + pattern[at++] - '0';
    }
    if (begin == at || value > MOST_REPETITIONS) {
      throw wrong("a number of repetitions is none from 0 to %,d".formatted(MOST_REPETITIONS));
    }
    return value;
  }

  private Language atom() {
    int next = pattern[at++];
    return switch (next) {
      case '(' -> group();
      case '[' -> written(characterClass());
      case '.' -> written(LINE_ENDS.not());
      case '\\' -> written(escape());
      case '^' -> throw wrong("an anchor is offered at the ends of the whole pattern alone");
      case '*', '+', '?', '{' -> throw wrong("nothing is there to repeat");
      default -> written(CodePoints.of(next, next));
    };
  }

  private Language written(CodePoints set) {
    return written.apply(set);
  }

  private Language group() {
    if (accept('?') && !accept(':')) {
      throw wrong("(?%c is not offered; use (?:...)".formatted(peek() == END ? ' ' : peek()));
    }
    if (++depth > MOST_DEPTH) {
      throw wrong("groups lie deeper than %d".formatted(MOST_DEPTH));
    }
    List<Language> alternatives = new ArrayList<>();
    do {
      alternatives.add(sequence());
    } while (accept('|'));
    if (!accept(')')) {
      throw wrong(
          peek() == '$'
              ? "an anchor is offered at the ends of the whole pattern alone"
              : "a group is not closed");
    }
    depth--;
    return all.choice(alternatives);
  }

  private CodePoints characterClass() {
    boolean negated = accept('^');
    List<Range> ranges = new ArrayList<>();
    while (!accept(']')) {
      if (at == pattern.length) {
        throw wrong("a class is not closed");
      }
      CodePoints first = member();
      if (peek() == '-' && at + 1 < pattern.length && pattern[at + 1] != ']') {
        at++;
        CodePoints last = member();
        ranges.add(new Range(single(first), single(last)));
        if (single(first) > single(last)) {
          throw wrong("a range ends before it begins");
        }
      } else {
        ranges.addAll(first.ranges());
      }
    }
    CodePoints set = CodePoints.union(ranges);
    return negated ? set.not() : set;
  }

  private CodePoints member() {
    int next = pattern[at++];
    return next == '\\' ? escape() : CodePoints.of(next, next);
  }

  private int single(CodePoints set) {
    if (set.ranges().size() != 1
        || set.ranges().getFirst().first() != set.ranges().getFirst().last()) {
      throw wrong("a range has no single character at its end");
    }
    return set.ranges().getFirst().first();
  }

  private CodePoints escape() {
    if (at == pattern.length) {
      throw wrong("it ends with a backslash");
    }
    int next = pattern[at++];
    return switch (next) {
      case 'd' -> DIGITS;
      case 'D' -> DIGITS.not();
      case 'w' -> WORD;
      case 'W' -> WORD.not();
      case 's' -> SPACE;
      case 'S' -> SPACE.not();
      case 'n' -> CodePoints.of("\n");
      case 'r' -> CodePoints.of("\r");
      case 't' -> CodePoints.of("\t");
      case 'f' -> CodePoints.of("\f");
      case 'v' -> CodePoints.of("\u000B");
      case '0' -> CodePoints.of("\0");
      case 'x' -> hexadecimal(2);
      case 'u' -> hexadecimal(4);
      default -> {
        if (Character.isLetterOrDigit(next)) {
          throw wrong("\\%c is not offered".formatted(next));
        }
        yield CodePoints.of(next, next);
      }
    };
  }

  private CodePoints hexadecimal(int digits) {
    int value = 0;
    for (int i = 0; i < digits; i++) {
      int digit = Character.digit(peek(), 16);
      if (digit < 0) {
        throw wrong("an escape has not its %d hexadecimal digits".formatted(digits));
      }
      value = 16 * value + digit;
      at++;
    }
    return CodePoints.of(value, value);
  }

  private int peek() {
    return at < pattern.length ? pattern[at] : END;
  }

  private boolean accept(int wanted) {
    boolean there = peek() == wanted;
    at += there ? 1 : 0;
    return there;
  }

  private GrammarException wrong(String problem) {
    return new GrammarException(
        place, "%s (at character %d of the pattern)".formatted(problem, at));
  }
}
