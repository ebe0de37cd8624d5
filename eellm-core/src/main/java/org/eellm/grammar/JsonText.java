package org.eellm.grammar;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** The languages of JSON's values, written without blanks (RFC 8259). */
final class JsonText {
  /** Digits of a number where nothing bounds it: all that a double tells apart. */
  private static final int MOST_DIGITS = 15;

  private static final CodePoints CONTROL = CodePoints.of(0, 0x1F);
  private static final CodePoints TO_ESCAPE = CONTROL.or(CodePoints.of("\"\\"));

  private final Languages all;

  /** A character of a string, escaped or not. */
  private final Language character;

  private final Language digit;

  final Language value;

  JsonText(Languages all) {
    this.all = all;
    digit = all.oneOf(ByteSet.range('0', '9'));
    character =
        all.choice(List.of(TO_ESCAPE.not().utf8(all), all.sequence(all.literal("\\"), escape())));
    value = all.rule("any value");
    all.define(
        value,
        all.choice(
            List.of(
                array(value, 0, Languages.UNBOUNDED),
                map(value),
                string(0, Languages.UNBOUNDED),
                number(),
                all.literals(List.of("true", "false", "null")))));
  }

  private Language escape() {
    Language hex = set("0123456789abcdefABCDEF");
    Language three = all.repeat(hex, 3, 3);
    Language two = all.repeat(hex, 2, 2);
    return all.choice(
        List.of(
            set("\"\\/bfnrt"),
            all.sequence(
                all.literal("u"),
                all.choice(
                    List.of( // half of a surrogate pair is no character
                        all.sequence(set("0123456789abcefABCEF"), three),
                        all.sequence(set("dD"), set("01234567"), two))))));
  }

  private Language set(String characters) {
    return CodePoints.of(characters).utf8(all);
  }

  Language string(int least, int most) {
    return quoted(all.repeat(character, least, most));
  }

  Language quoted(Language content) {
    return all.sequence(all.literal("\""), content, all.literal("\""));
  }

  /** How a character of a set is written in a string; one that has to be escaped, in one way. */
  Language written(CodePoints set) {
    List<Language> alternatives = new ArrayList<>();
    alternatives.add(set.without(TO_ESCAPE).utf8(all));
    set.without(TO_ESCAPE.not()).ranges().stream()
        .flatMapToInt(range -> IntStream.rangeClosed(range.first(), range.last()))
        .forEach(each -> alternatives.add(all.literal(escaped(each))));
    return all.choice(alternatives);
  }

  private static String escaped(int character) {
    return switch (character) {
      case '"' -> "\\\"";
      case '\\' -> "\\\\";
      case '\b' -> "\\b";
      case '\f' -> "\\f";
      case '\n' -> "\\n";
      case '\r' -> "\\r";
      case '\t' -> "\\t";
      default -> "\\u%04x".formatted(character);
    };
  }

  Language array(Language item, int least, int most) {
    if (most == 0) {
      return all.literal("[]");
    }
    Language further = all.sequence(all.literal(","), item);
    Language items =
        all.sequence(
            item,
            all.repeat(
                further, Math.max(0, least - 1), most == Languages.UNBOUNDED ? most : most - 1));
    return all.sequence(
        all.literal("["), least == 0 ? all.optional(items) : items, all.literal("]"));
  }

  Language map(Language of) {
    Language member = all.sequence(string(0, Languages.UNBOUNDED), all.literal(":"), of);
    Language further = all.sequence(all.literal(","), member);
    Language members = all.sequence(member, all.repeat(further, 0, Languages.UNBOUNDED));
    return all.sequence(all.literal("{"), all.optional(members), all.literal("}"));
  }

  Language number() {
    Language exponent = all.sequence(set("eE"), all.optional(set("+-")), all.repeat(digit, 1, 2));
    return all.sequence(
        all.optional(all.literal("-")),
        whole(Bounds.FROM_ZERO),
        all.optional(fraction()),
        all.optional(exponent));
  }

  private Language fraction() {
    return all.sequence(all.literal("."), all.repeat(digit, 1, MOST_DIGITS));
  }

  /**
   * Bounds of numbers, which belong to what they bound.
   *
   * @param least none for all that are small enough
   */
  record Bounds(Optional<BigInteger> least, Optional<BigInteger> most) {
    static final Bounds NONE = new Bounds(Optional.empty(), Optional.empty());
    static final Bounds FROM_ZERO = new Bounds(Optional.of(BigInteger.ZERO), Optional.empty());

    Bounds positive() {
      return new Bounds(Optional.of(least.orElse(BigInteger.ZERO).max(BigInteger.ZERO)), most);
    }

    Bounds negated() {
      return new Bounds(most.map(BigInteger::negate), least.map(BigInteger::negate));
    }

    Bounds within(Bounds others) {
      return new Bounds(
          Stream.concat(least.stream(), others.least.stream()).max(Comparator.naturalOrder()),
          Stream.concat(most.stream(), others.most.stream()).min(Comparator.naturalOrder()));
    }

    private boolean hasPositive() {
      return most.isEmpty() || most.get().signum() >= 0;
    }
  }

  Language integer(Bounds within) {
    return bounded(within, this::whole);
  }

  /** Numbers, without exponents where there are bounds. */
  Language number(Bounds within) {
    return within.equals(Bounds.NONE) ? number() : bounded(within, this::decimal);
  }

  private Language bounded(Bounds within, Function<Bounds, Language> magnitudes) {
    List<Language> alternatives = new ArrayList<>();
    if (within.hasPositive()) {
      alternatives.add(magnitudes.apply(within.positive()));
    }
    Bounds negated = within.negated();
    if (within.least().isEmpty() || within.least().get().signum() < 0) {
      alternatives.add(all.sequence(all.literal("-"), magnitudes.apply(negated.positive())));
    }
    return all.choice(alternatives);
  }

  /** Numbers from 0 on, with a fraction or without. */
  private Language decimal(Bounds within) {
    List<Language> alternatives = new ArrayList<>();
    Bounds below =
        new Bounds(within.least(), within.most().map(last -> last.subtract(BigInteger.ONE)));
    alternatives.add(all.sequence(whole(below), all.optional(fraction())));
    within
        .most()
        .filter(last -> last.compareTo(within.least().orElseThrow()) >= 0)
        .ifPresent(last -> alternatives.add(all.literal(last.toString())));
    return all.choice(alternatives);
  }

  /** The digits of whole numbers from 0 on, without leading zeros. */
  private Language whole(Bounds within) {
    String first = within.least().orElseThrow().toString();
    int digits =
        within
            .most()
            .map(last -> last.signum() < 0 ? 0 : last.toString().length())
            .orElse(Math.max(MOST_DIGITS, first.length()));
    List<Language> alternatives = new ArrayList<>();
    for (int length = first.length(); length <= digits; length++) {
      String from = length == first.length() ? first : "1" + "0".repeat(length - 1);
      String end =
          within.most().isPresent() && length == digits
              ? within.most().get().toString()
              : "9".repeat(length);
      if (from.compareTo(end) <= 0) {
        alternatives.add(between(from, end));
      }
    }
    return all.choice(alternatives);
  }

  /** The digits between two that are as long. */
  private Language between(String from, String to) {
    if (from.isEmpty()) {
      return all.empty;
    }
    char low = from.charAt(0);
    char high = to.charAt(0);
    String lowest = "0".repeat(from.length() - 1);
    String highest = "9".repeat(from.length() - 1);
    String fromRest = from.substring(1);
    String toRest = to.substring(1);
    if (low == high) {
      return all.sequence(digits(low, low), between(fromRest, toRest));
    }
    List<Language> alternatives = new ArrayList<>();
    boolean wholeLow = fromRest.equals(lowest);
    boolean wholeHigh = toRest.equals(highest);
    if (!wholeLow) {
      alternatives.add(all.sequence(digits(low, low), between(fromRest, highest)));
    }
    if (!wholeHigh) {
      alternatives.add(all.sequence(digits(high, high), between(lowest, toRest)));
    }
    char first = (char) (wholeLow ? low : low + 1);
    char last = (char) (wholeHigh ? high : high - 1);
    if (first <= last) {
      alternatives.add(
          all.sequence(digits(first, last), all.repeat(digit, lowest.length(), lowest.length())));
    }
    return all.choice(alternatives);
  }

  private Language digits(char first, char last) {
    return all.oneOf(ByteSet.range(first, last));
  }
}
