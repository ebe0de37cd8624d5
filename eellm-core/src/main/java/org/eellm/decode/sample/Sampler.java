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

  /** Whether that is always {@link Prediction#best}, and nothing else is looked at. */
  default boolean takesBest() {
    return false;
  }

  /** The most probable id. */
  static Sampler greedy() {
    return new Greedy();
  }

  /** Takes the most probable id. */
  record Greedy() implements Sampler {
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
