package org.eellm.generate;

import java.util.List;
import org.eellm.model.Head;

/** How a sequence gets its tokens: which heads it asks, and what becomes of layers left out. */
public sealed interface Decoding {

  /**
   * A token leaves at the first exit that is sure enough; its hidden state waits there, and goes
   * through the layers above in front of the next token that needs them, so that all keys and
   * values are exact (EE-LLM, arXiv 2312.04916, section 4).
   */
  record EarlyExit(ExitPolicy policy) implements Decoding {
    @Override
    public List<Head> heads(List<Head> all) {
      return policy.heads(all);
    }
  }

  /** The full model; its exits are not computed. */
  static Decoding full() {
    return new EarlyExit(ExitPolicies.full());
  }

  /**
   * The heads to ask, shallowest first.
   *
   * @param all the model's heads in order of depth, the final head last
   * @throws org.eellm.config.ConfigException if the model lacks what is needed
   */
  List<Head> heads(List<Head> all);
}
