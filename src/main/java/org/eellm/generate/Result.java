package org.eellm.generate;

import java.util.List;

/**
 * A continued text.
 *
 * @param tokens the generated ones
 * @param firstTokenSeconds from the sequence's start to its first token
 * @param seconds from the sequence's start to its last token
 */
public record Result(
    List<GeneratedToken> tokens, FinishReason reason, double firstTokenSeconds, double seconds) {

  /** Why a text ended: as many tokens as asked for, an end token, or the listener said so. */
  public enum FinishReason {
    LENGTH,
    END_TOKEN,
    STOPPED
  }

  public Result {
    tokens = List.copyOf(tokens);
  }

  /** The generated ids. */
  public List<Integer> ids() {
    return tokens.stream().map(GeneratedToken::id).toList();
  }
}
