package org.eellm.serve;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.eellm.decode.sample.MinTokens;
import org.eellm.serve.json.ApiException;
import org.eellm.serve.json.Fields;

/**
 * Where a continuation ends.
 *
 * @param tokens ids that end it
 * @param least tokens that it has at least: before, neither an id nor a text ends it
 * @param texts that end it and are no part of it
 */
record StoppingCriteria(Set<Integer> tokens, int least, List<String> texts) {
  private static final int MAX_TOKENS = 128;

  StoppingCriteria {
    tokens = Set.copyOf(tokens);
    texts = List.copyOf(texts);
  }

  /**
   * Reads {@code ignore_eos}, {@code stop_token_ids} and {@code min_tokens}.
   *
   * @param most tokens of the continuation
   */
  static StoppingCriteria read(Fields fields, ServedModel model, int most, List<String> texts) {
    boolean ignoresEnd = fields.bool("ignore_eos").orElse(false);
    int last = model.tokenizer().vocabSize() - 1;
    List<Integer> own =
        fields
            .list("stop_token_ids", (name, id) -> Fields.integer(name, id, 0, last))
            .orElse(List.of());
    if (own.size() > MAX_TOKENS) {
      throw ApiException.badField(
          "stop_token_ids", "%d ids are more than %d".formatted(own.size(), MAX_TOKENS));
    }
    Set<Integer> tokens = new HashSet<>(own);
    if (!ignoresEnd) {
      tokens.addAll(model.endTokens());
    }
    return new StoppingCriteria(tokens, fields.integer("min_tokens", 0, most).orElse(0), texts);
  }

  /** The least length, in the form in which sampling takes it. */
  MinTokens minTokens() {
    return new MinTokens(least, tokens);
  }
}
