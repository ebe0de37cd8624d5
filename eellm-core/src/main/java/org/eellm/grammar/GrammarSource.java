package org.eellm.grammar;

import java.util.List;
import java.util.Set;

/** What a generated text is held to, as a person or a program says it. */
public sealed interface GrammarSource {
  /** The JSON texts that a JSON Schema accepts; docs/structured-output.md says which of them. */
  record Schema(String json) implements GrammarSource {
    /**
     * The texts that Jackson reads into a record: of records, lists, maps, enums, texts, numbers,
     * and Optional for what may be absent.
     *
     * @throws GrammarException if a component is of another type
     */
    public static Schema of(Class<? extends Record> type) {
      return new Schema(ClassSchema.of(type));
    }
  }

  /** Any JSON object. */
  record JsonObjects() implements GrammarSource {}

  /** The texts that match a regular expression as a whole. */
  record Expression(String pattern) implements GrammarSource {}

  /** Some texts. */
  record Choice(List<String> texts) implements GrammarSource {
    public Choice {
      texts = List.copyOf(texts);
    }
  }

  /** The texts of rule {@code root} of rules in the notation of llama.cpp (GBNF). */
  record Rules(String text) implements GrammarSource {}

  /** Texts of some sources behind each other. */
  record Sequence(List<GrammarSource> parts) implements GrammarSource {
    public Sequence {
      parts = List.copyOf(parts);
    }
  }

  /** The texts of any of some sources. */
  record AnyOf(List<GrammarSource> sources) implements GrammarSource {
    public AnyOf {
      sources = List.copyOf(sources);
    }
  }

  /** Any number of texts of a source behind each other, or none. */
  record Repeated(GrammarSource part) implements GrammarSource {}

  /**
   * Any text; behind a mark in it, a text of a source.
   *
   * @param mark at least one character
   * @param anywhere whether the mark counts wherever it stands, or at the beginning alone
   */
  record AnyText(String mark, boolean anywhere, GrammarSource rest) implements GrammarSource {}

  /**
   * Texts in which some special tokens count as their names.
   *
   * @param specials ids of these tokens
   */
  record WithSpecials(GrammarSource source, Set<Integer> specials) implements GrammarSource {
    public WithSpecials {
      specials = Set.copyOf(specials);
    }
  }

  /** Special tokens that count as their names. */
  default Set<Integer> specials() {
    return Set.of();
  }

  static GrammarSource text(String text) {
    return new Choice(List.of(text));
  }
}
