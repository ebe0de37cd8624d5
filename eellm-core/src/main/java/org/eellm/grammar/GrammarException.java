package org.eellm.grammar;

/**
 * A schema, an expression or a grammar that cannot be honoured; the message begins with the place
 * in it.
 */
public final class GrammarException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  GrammarException(String place, String problem) {
    super(place + ": " + problem);
  }
}
