package org.eellm.decode.request;

import java.util.List;
import java.util.Optional;
import org.eellm.config.HeadId;

/**
 * Tokens that were drafted together, and what the full model said of them.
 *
 * @param step tokens of the text that were generated before them
 * @param exit who drafted them, of several exits the last, and of layers that are skipped the exit
 *     below; empty for the text itself
 * @param accepted how many of the first ones are in the text now
 */
public record Draft(int step, Optional<HeadId> exit, List<Integer> ids, int accepted) {
  public Draft {
    ids = List.copyOf(ids);
  }
}
