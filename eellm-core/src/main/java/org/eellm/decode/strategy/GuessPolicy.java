package org.eellm.decode.strategy;

import java.util.List;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Request;
import org.eellm.decode.token.Prediction;
import org.eellm.model.Head;

/**
 * Asks one exit of a pipeline's first stage for guesses, where all tokens come from the final head.
 * No token leaves there.
 *
 * @param layer of the exit, from 1
 */
public record GuessPolicy(int layer) implements ExitPolicy {
  /**
   * Adds guesses of the last exit of the first stage to a request if its tokens all come from the
   * final head. An exit with attention would have to see each row, guess or not.
   */
  public static Request addTo(Request request, ModelRunner runner) {
    List<Head> exits =
        runner.heads().stream()
            .filter(head -> head.isExit() && !head.hasAttention() && !runner.isRemote(head))
            .toList();
    List<Head> last = List.of(runner.model().allHeads().getLast());
    return request.decoding() instanceof DecodingMethod.EarlyExit(ExitPolicy policy)
            && policy.heads(runner.model().allHeads()).equals(last)
            && !exits.isEmpty()
        ? request.withDecoding(
            new DecodingMethod.EarlyExit(new GuessPolicy(exits.getLast().layer())))
        : request;
  }

  @Override
  public boolean leaves(Prediction prediction) {
    return false;
  }

  @Override
  public List<Head> heads(List<Head> all) {
    return ExitPolicies.among(List.of(layer), _ -> false).heads(all);
  }
}
