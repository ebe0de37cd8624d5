package org.eellm.decode.exit;

import java.io.Serializable;
import java.util.List;
import java.util.Map;
import org.eellm.decode.token.Prediction;
import org.eellm.model.Head;

/**
 * Decides at which head a token leaves the model (EE-LLM, arXiv 2312.04916, section 4). {@link
 * ExitPolicies} has the usual ones; another one is a class, or a lambda, of its own:
 *
 * <pre>{@code
 * ExitPolicy hasty = prediction -> prediction.position() > 100 || prediction.margin() > 0.5;
 * }</pre>
 *
 * <p>A policy is asked for every sequence of a batch apart, and keeps no state of its own: what was
 * said before is in the {@link Prediction}.
 */
@FunctionalInterface
public interface ExitPolicy extends Serializable {

  boolean leaves(Prediction prediction);

  /**
   * The heads to ask, shallowest first. At the last head returned the token always leaves: {@link
   * #leaves} is not called there, and nothing beyond it is computed. All heads unless a policy says
   * otherwise.
   *
   * @param all the model's heads in order of depth, the final head last
   * @return some of {@code all} in the same order, at least one
   * @throws org.eellm.config.ConfigException if the model lacks what the policy needs
   */
  default List<Head> heads(List<Head> all) {
    return all;
  }

  /**
   * The gates that decide, by their exits' layers, from 1. Where there are some, exits are asked
   * for the short list of ids and those of the text's last tokens, and {@link #leaves} sees what
   * they say of these.
   */
  default Map<Integer, Gate> gates() {
    return Map.of();
  }
}
