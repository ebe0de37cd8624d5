package org.eellm.serve;

import java.util.List;
import java.util.OptionalDouble;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.GeneratedToken.Alternative;

/**
 * A token of a reply, and what the model said of it.
 *
 * @param logProbability none for a prompt's first token
 * @param offset UTF-16 characters of the reply's text in front of it
 */
public record Said(
    int id, OptionalDouble logProbability, List<Alternative> alternatives, int offset) {

  static Said of(GeneratedToken token, int offset) {
    return new Said(
        token.id(), OptionalDouble.of(token.logProbability()), token.alternatives(), offset);
  }

  /** A prompt's first token, which nothing stands before. */
  static Said first(int id) {
    return new Said(id, OptionalDouble.empty(), List.of(), 0);
  }
}
