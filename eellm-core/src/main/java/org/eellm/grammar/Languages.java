package org.eellm.grammar;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.NavigableSet;
import java.util.Set;
import java.util.TreeSet;
import org.eellm.grammar.Language.Form;
import org.jspecify.annotations.Nullable;

/**
 * Makes the languages of one grammar, each once, and what may follow in them. Not for several
 * threads at a time.
 */
final class Languages {
  static final int UNBOUNDED = Integer.MAX_VALUE;

  /** Languages of a grammar and all that followed in its texts: some 50 MB. */
  private static final int MOST = 200_000;

  final Language nothing;
  final Language empty;
  private final Map<Form, Language> known = new HashMap<>();
  private final List<String> names = new ArrayList<>();
  private final List<@Nullable Language> bodies = new ArrayList<>();
  private boolean[] endingRules = {}; // whose texts may be empty

  Languages() {
    nothing = of(new Form.Nothing());
    empty = of(new Form.Empty());
  }

  private Language of(Form form) {
    Language language = known.get(form);
    if (language == null) {
      if (known.size() >= MOST) {
        throw new GrammarException(
            "grammar", "its automaton has more than %,d states; use a simpler one".formatted(MOST));
      }
      language = new Language(form, this);
      known.put(form, language);
    }
    return language;
  }

  Language oneOf(ByteSet bytes) {
    return bytes.equals(ByteSet.NONE) ? nothing : of(new Form.OneByte(bytes));
  }

  Language literal(String text) {
    return sequence(text.getBytes(StandardCharsets.UTF_8), 0);
  }

  private Language sequence(byte[] bytes, int from) {
    Language rest = empty;
    for (int i = bytes.length - 1; i >= from; i--) {
      int value = Byte.toUnsignedInt(bytes[i]);
      rest = sequence(oneOf(ByteSet.range(value, value)), rest);
    }
    return rest;
  }

  /** Any of some texts, in UTF-8; their common beginnings are read once. */
  Language literals(Collection<String> texts) {
    NavigableSet<byte[]> sorted = new TreeSet<>(Arrays::compareUnsigned);
    texts.forEach(text -> sorted.add(text.getBytes(StandardCharsets.UTF_8)));
    return sorted.isEmpty() ? nothing : literals(new ArrayList<>(sorted), 0);
  }

  private Language literals(List<byte[]> sorted, int depth) {
    if (sorted.size() == 1) {
      return sequence(sorted.getFirst(), depth);
    }
    List<Language> alternatives = new ArrayList<>();
    int from = 0;
    if (sorted.getFirst().length == depth) {
      alternatives.add(empty);
      from = 1;
    }
    while (from < sorted.size()) {
      byte next = sorted.get(from)[depth];
      int end = from + 1;
      while (end < sorted.size() && sorted.get(end)[depth] == next) {
        end++;
      }
      int value = Byte.toUnsignedInt(next);
      alternatives.add(
          sequence(
              oneOf(ByteSet.range(value, value)), literals(sorted.subList(from, end), depth + 1)));
      from = end;
    }
    return choice(alternatives);
  }

  /**
   * Any text; what follows a mark in it is of a language.
   *
   * @param anywhere whether the mark counts wherever it stands, or at the beginning alone
   */
  Language anyText(String mark, boolean anywhere, Language rest) {
    byte[] bytes = mark.getBytes(StandardCharsets.UTF_8);
    Language any = repeat(oneOf(ByteSet.range(0, 255)), 0, UNBOUNDED);
    Language[] behind = new Language[bytes.length + 1]; // behind so many bytes of the mark
    for (int read = 0; read < bytes.length; read++) {
      behind[read] = rule("text before " + mark);
    }
    behind[bytes.length] = rest;
    for (int read = 0; read < bytes.length; read++) {
      List<Language> alternatives = new ArrayList<>(List.of(empty));
      ByteSet others = ByteSet.range(0, 255);
      for (int length = read + 1; length > 0; length--) { // the longest of the mark comes first
        boolean beginning = Arrays.equals(bytes, 0, length - 1, bytes, read - length + 1, read);
        int next = Byte.toUnsignedInt(bytes[length - 1]);
        if (others.contains(next) && beginning && (anywhere || length == read + 1)) {
          ByteSet one = ByteSet.range(next, next);
          others = others.without(one);
          alternatives.add(sequence(oneOf(one), behind[length]));
        }
      }
      alternatives.add(sequence(oneOf(others), anywhere ? behind[0] : any));
      define(behind[read], choice(alternatives));
    }
    return behind[0];
  }

  Language sequence(Language... parts) {
    Language rest = empty;
    for (int i = parts.length - 1; i >= 0; i--) {
      rest = sequence(parts[i], rest);
    }
    return rest;
  }

  private Language sequence(Language first, Language rest) {
    if (first == nothing || rest == nothing) {
      return nothing;
    }
    if (rest == empty) {
      return first;
    }
    return switch (first.form) {
      case Form.Empty _ -> rest;
      case Form.Sequence(Language begin, Language end) -> sequence(begin, sequence(end, rest));
      default -> of(new Form.Sequence(first, rest));
    };
  }

  Language choice(Collection<Language> alternatives) {
    Set<Language> distinct = new LinkedHashSet<>();
    ByteSet bytes = ByteSet.NONE;
    for (Language each : alternatives) {
      for (Language part : parts(each)) {
        if (part.form instanceof Form.OneByte(ByteSet more)) {
          bytes = bytes.or(more);
        } else {
          distinct.add(part);
        }
      }
    }
    if (!bytes.equals(ByteSet.NONE)) {
      distinct.add(oneOf(bytes));
    }
    return switch (distinct.size()) {
      case 0 -> nothing;
      case 1 -> distinct.iterator().next();
      default -> of(new Form.Choice(List.copyOf(distinct)));
    };
  }

  private static List<Language> parts(Language language) {
    return switch (language.form) {
      case Form.Nothing _ -> List.of();
      case Form.Choice(List<Language> alternatives) -> alternatives;
      default -> List.of(language);
    };
  }

  Language optional(Language part) {
    return choice(List.of(part, empty));
  }

  /**
   * A language some times.
   *
   * @param most {@link #UNBOUNDED} for any number
   */
  Language repeat(Language part, int least, int most) {
    if (most == 0 || part == empty || part == nothing && least == 0) {
      return empty;
    }
    return part == nothing || least == 1 && most == 1
        ? part
        : of(new Form.Repetition(part, least, most));
  }

  /** A rule that may be named before it is {@link #define defined}. */
  Language rule(String name) {
    names.add(name);
    bodies.add(null);
    return of(new Form.Rule(names.size() - 1));
  }

  void define(Language rule, Language body) {
    bodies.set(((Form.Rule) rule.form).number(), body);
  }

  private Language body(int rule) {
    Language body = bodies.get(rule);
    if (body == null) {
      throw new GrammarException(names.get(rule), "is named, and nowhere defined");
    }
    return body;
  }

  /**
   * Checks the rules, of which all are defined.
   *
   * @throws GrammarException if one begins with itself, or has no text that ends
   */
  void check() {
    boolean[] ending = new boolean[bodies.size()];
    boolean[] finite = new boolean[bodies.size()];
    for (boolean changes = true; changes; ) {
      changes = false;
      Map<Language, Boolean> seenEnding = new HashMap<>();
      Map<Language, Boolean> seenFinite = new HashMap<>();
      for (int rule = 0; rule < bodies.size(); rule++) {
        boolean mayEnd = ending[rule] || has(body(rule), false, ending, seenEnding);
        boolean ends = finite[rule] || has(body(rule), true, finite, seenFinite);
        changes |= mayEnd != ending[rule] || ends != finite[rule];
        ending[rule] = mayEnd;
        finite[rule] = ends;
      }
    }
    endingRules = ending;
    for (int rule = 0; rule < bodies.size(); rule++) {
      requireNotFirst(rule, body(rule), new HashSet<>());
      if (!finite[rule]) {
        throw new GrammarException(names.get(rule), "has no text that ends");
      }
    }
  }

  /**
   * Whether a language has the empty text or, where bytes may be read, any text that ends; as far
   * as is known of the rules.
   *
   * @param bytes whether bytes may be read
   */
  private static boolean has(
      Language language, boolean bytes, boolean[] rules, Map<Language, Boolean> seen) {
    Language last = language; // of a long text's bytes, which are as many calls otherwise
    while (bytes
        && last.form instanceof Form.Sequence(Language first, Language rest)
        && first.form instanceof Form.OneByte) {
      last = rest;
    }
    Boolean known = seen.get(last);
    if (known == null) {
      known =
          switch (last.form) {
            case Form.Nothing _ -> false;
            case Form.Empty _ -> true;
            case Form.OneByte _ -> bytes;
            case Form.Sequence(Language first, Language rest) ->
                has(first, bytes, rules, seen) && has(rest, bytes, rules, seen);
            case Form.Choice(List<Language> alternatives) ->
                alternatives.stream().anyMatch(each -> has(each, bytes, rules, seen));
            case Form.Repetition(Language part, int least, _) ->
                least == 0 || has(part, bytes, rules, seen);
            case Form.Rule(int number) -> rules[number];
          };
      seen.put(last, known);
    }
    return known;
  }

  private void requireNotFirst(int rule, Language begin, Set<Language> seen) {
    if (!seen.add(begin)) {
      return;
    }
    switch (begin.form) {
      case Form.Nothing _, Form.Empty _, Form.OneByte _ -> {}
      case Form.Sequence(Language first, Language rest) -> {
        requireNotFirst(rule, first, seen);
        if (first.mayEnd()) {
          requireNotFirst(rule, rest, seen);
        }
      }
      case Form.Choice(List<Language> alternatives) ->
          alternatives.forEach(each -> requireNotFirst(rule, each, seen));
      case Form.Repetition(Language part, _, _) -> requireNotFirst(rule, part, seen);
      case Form.Rule(int number) -> {
        if (number == rule) {
          throw new GrammarException(
              names.get(rule), "begins with itself; let what repeats come last");
        }
        requireNotFirst(rule, body(number), seen);
      }
    }
  }

  boolean mayEnd(Language language) {
    return switch (language.form) {
      case Form.Empty _ -> true;
      case Form.Nothing _, Form.OneByte _ -> false;
      case Form.Sequence(Language first, Language rest) -> first.mayEnd() && rest.mayEnd();
      case Form.Choice(List<Language> alternatives) ->
          alternatives.stream().anyMatch(Language::mayEnd);
      case Form.Repetition(Language part, int least, _) -> least == 0 || part.mayEnd();
      case Form.Rule(int number) -> endingRules[number];
    };
  }

  ByteSet first(Language language) {
    return switch (language.form) {
      case Form.Nothing _, Form.Empty _ -> ByteSet.NONE;
      case Form.OneByte(ByteSet bytes) -> bytes;
      case Form.Sequence(Language first, Language rest) ->
          first.mayEnd() ? first.first().or(rest.first()) : first.first();
      case Form.Choice(List<Language> alternatives) ->
          alternatives.stream().map(Language::first).reduce(ByteSet.NONE, ByteSet::or);
      case Form.Repetition(Language part, _, _) -> part.first();
      case Form.Rule(int number) -> body(number).first();
    };
  }

  /** What may follow a byte: the derivative. */
  Language after(Language language, int value) {
    return switch (language.form) {
      case Form.Nothing _, Form.Empty _ -> nothing;
      case Form.OneByte(ByteSet bytes) -> bytes.contains(value) ? empty : nothing;
      case Form.Sequence(Language first, Language rest) -> {
        Language behind = sequence(first.after((byte) value), rest);
        yield first.mayEnd() ? choice(List.of(behind, rest.after((byte) value))) : behind;
      }
      case Form.Choice(List<Language> alternatives) ->
          choice(alternatives.stream().map(each -> each.after((byte) value)).toList());
      case Form.Repetition(Language part, int least, int most) ->
          sequence(
              part.after((byte) value),
              repeat(part, Math.max(0, least - 1), most == UNBOUNDED ? most : most - 1));
      case Form.Rule(int number) -> body(number).after((byte) value);
    };
  }

  Language near(Language language, int bytes) {
    return switch (language.form) {
      case Form.Sequence(Language first, Language rest) -> sequence(near(first, bytes), rest);
      case Form.Repetition(Language part, int least, int most) when !part.mayEnd() ->
          repeat(part, Math.min(least, bytes + 1), most > bytes ? UNBOUNDED : most);
      default -> language;
    };
  }
}
