package org.eellm.decode.token;

/** Receives every token as soon as it leaves the model. */
@FunctionalInterface
public interface TokenListener {

  /** Whether a sequence goes on. */
  enum Reaction {
    CONTINUE,
    STOP
  }

  /**
   * @param request position of its request, from 0
   */
  Reaction onToken(int request, GeneratedToken token);

  /** Receives all and stops nothing. */
  static TokenListener none() {
    return (request, token) -> Reaction.CONTINUE;
  }
}
