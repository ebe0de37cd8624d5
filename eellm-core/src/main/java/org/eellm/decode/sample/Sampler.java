package org.eellm.decode.sample;

import java.io.Serializable;
import org.eellm.decode.token.Prediction;

/** Chooses a sequence's next token from what the head says at which it leaves. */
@FunctionalInterface
public interface Sampler extends Serializable {

  /**
   * The id of the token at {@link Prediction#position}. The answer depends on the prediction alone:
   * drafts and pipelines also ask, as a guess, for tokens that are never emitted.
   */
  int next(Prediction prediction);

  /**
   * Whether it takes the most probable id, so that an exit's short list of ids is enough for a
   * token that leaves there. Of others, exits are asked for all ids.
   */
  default boolean takesShortList() {
    return false;
  }

  /** The most probable id. */
  static Sampler greedy() {
    return Greedy.OF_ANY_IDS;
  }

  /** The same token from all ids, so that its probability is among all of them. */
  static Sampler ofAllIds(Sampler sampler) {
    return sampler::next;
  }

  /** {@link #greedy}. */
  enum Greedy implements Sampler {
    OF_ANY_IDS;

    @Override
    public int next(Prediction prediction) {
      return prediction.best();
    }

    @Override
    public boolean takesShortList() {
      return true;
    }
  }
}
