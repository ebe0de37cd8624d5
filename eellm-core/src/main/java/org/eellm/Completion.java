package org.eellm;

import java.util.List;

/**
 * A generated text.
 *
 * @param text without the prompt, the end token, and the stop text that it ended at
 * @param tokens in order, an end token and those of a stop text among them
 * @param reason why it ended
 * @param usage what it took
 */
public record Completion(String text, List<Token> tokens, Reason reason, Usage usage) {

  /** Why a text ended. */
  public enum Reason {
    /** It has as many tokens as it may, or the model's context is full. */
    LENGTH,
    /** The model wrote an end token. */
    END_TOKEN,
    /** A stop text came. */
    STOP_TEXT,
    /** {@link Generation#close}; the text is what had come before. */
    CANCELLED
  }

  /**
   * The tokens and the time that a text took.
   *
   * @param promptTokens tokens of the prompt
   * @param reusedTokens of these, whose keys and values an earlier text had left
   * @param draftedTokens tokens that were drafted, and that the full model verified
   * @param acceptedTokens of these, which the full model accepted
   * @param queuedSeconds until work on the text began
   * @param seconds from then to the last token
   */
  public record Usage(
      int promptTokens,
      int reusedTokens,
      int draftedTokens,
      int acceptedTokens,
      double queuedSeconds,
      double seconds) {}

  public Completion {
    tokens = List.copyOf(tokens);
  }
}
