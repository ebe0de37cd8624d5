package org.eellm.decode.request;

import java.util.List;
import org.eellm.decode.token.GeneratedToken;

/**
 * A continued text.
 *
 * @param tokens the generated ones
 * @param queuedSeconds from the request to the moment it was scheduled
 * @param firstTokenSeconds from that moment to the first token; 0 if there is none
 * @param seconds from that moment to the last token; 0 if there is none
 */
public record Result(
    List<GeneratedToken> tokens,
    FinishReason reason,
    Usage usage,
    double queuedSeconds,
    double firstTokenSeconds,
    double seconds) {

  /**
   * Why a text ended: as many tokens as asked for, an end token, the listener said so, or the
   * request was cancelled.
   */
  public enum FinishReason {
    LENGTH,
    END_TOKEN,
    STOPPED,
    CANCELLED
  }

  /**
   * Counts of a text's tokens.
   *
   * @param promptTokens of the prompt
   * @param reusedTokens of these, whose keys and values were there already
   * @param draftedTokens that were drafted and that the full model verified
   * @param acceptedTokens of these, which the full model accepted
   */
  public record Usage(int promptTokens, int reusedTokens, int draftedTokens, int acceptedTokens) {}

  public Result {
    tokens = List.copyOf(tokens);
  }

  public List<Integer> ids() {
    return tokens.stream().map(GeneratedToken::id).toList();
  }

  /** A copy as if it had been stopped after so many tokens. */
  public Result stoppedAfter(int count) {
    return new Result(
        tokens.subList(0, count),
        FinishReason.STOPPED,
        usage,
        queuedSeconds,
        firstTokenSeconds,
        seconds);
  }
}
