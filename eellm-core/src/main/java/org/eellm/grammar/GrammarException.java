package org.eellm.grammar;

import org.eellm.EellmException;

/**
 * A schema, an expression or a grammar that cannot be honoured; the message begins with the place
 * in it.
 */
public final class GrammarException extends EellmException {
  GrammarException(String place, String problem) {
    super(place + ": " + problem);
  }
}
