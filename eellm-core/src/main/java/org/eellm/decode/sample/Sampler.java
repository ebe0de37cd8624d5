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
   * Whether it looks at nothing of a prediction but {@link Prediction#best}. Then an exit's short
   * list of ids is enough for a token that leaves there; for others, exits are asked for all ids.
   */
  default boolean takesBest() {
    return false;
  }

  /** The most probable id. */
  static Sampler greedy() {
    return Greedy.INSTANCE;
  }

  /** The same token from all ids, so that its probability is among all of them. */
  static Sampler ofAllIds(Sampler sampler) {
    return sampler::next;
  }

  /** {@link #greedy}. */
  enum Greedy implements Sampler {
    INSTANCE;

    @Override
    public int next(Prediction prediction) {
      return prediction.best();
    }

    @Override
    public boolean takesBest() {
      return true;
    }
  }
}
