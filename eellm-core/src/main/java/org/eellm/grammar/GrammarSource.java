package org.eellm.grammar;

import java.util.List;

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
}
