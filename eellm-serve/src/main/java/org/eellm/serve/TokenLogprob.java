package org.eellm.serve;

import java.util.List;
import java.util.OptionalDouble;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.GeneratedToken.Alternative;

/**
 * A token of a reply, and its log probability by the model.
 *
 * @param logProbability none for a prompt's first token
 * @param offset code points of the reply's text in front of it
 */
record TokenLogprob(
    int id, OptionalDouble logProbability, List<Alternative> alternatives, int offset) {

  static TokenLogprob of(GeneratedToken token, int offset) {
    return new TokenLogprob(
        token.id(), OptionalDouble.of(token.logProbability()), token.alternatives(), offset);
  }

  /** A prompt's first token, which nothing stands before. */
  static TokenLogprob first(int id) {
    return new TokenLogprob(id, OptionalDouble.empty(), List.of(), 0);
  }
}
