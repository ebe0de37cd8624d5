package org.eellm.decode.strategy;

import java.util.List;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.token.Prediction;
import org.eellm.model.Head;

/**
 * What the first stage of a pipeline asks where all tokens come from the final head: one of its
 * exits, for guesses. No token leaves there.
 *
 * @param layer of the exit, from 1
 */
public record GuessPolicy(int layer) implements ExitPolicy {
  @Override
  public boolean leaves(Prediction prediction) {
    return false;
  }

  @Override
  public List<Head> heads(List<Head> all) {
    return ExitPolicies.among(List.of(layer), _ -> false).heads(all);
  }
}
