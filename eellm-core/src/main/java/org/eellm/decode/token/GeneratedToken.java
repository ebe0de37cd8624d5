package org.eellm.decode.token;

import java.util.List;
import org.eellm.config.HeadId;

/**
 * A token and where it came from.
 *
 * @param layer the head's, from 1; for the final head the number of layers
 * @param confidence the head's largest probability; at an exit with a gate that was asked for no
 *     other ids, this and the next are among the short list and the text's last ids
 * @param logProbability natural logarithm of the head's probability of this id, before temperature
 *     and all other settings of the sampler
 * @param drafted whether it was a draft, which the head confirmed
 * @param alternatives the head's most probable ids, best first, as many as the request asks for
 */
public record GeneratedToken(
    int id,
    HeadId head,
    int layer,
    double confidence,
    double logProbability,
    boolean drafted,
    List<Alternative> alternatives) {

  /** One of the head's most probable ids. */
  public record Alternative(int id, double logProbability) {}

  public GeneratedToken {
    alternatives = List.copyOf(alternatives);
  }
}
