package org.eellm.decode.sample;

import java.io.Serializable;
import java.util.OptionalInt;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.Tokens;

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

  /**
   * A choice.
   *
   * @param id as {@link #next}
   * @param margin from 0 to 1: how sure it is that a prediction that is much like this one leads to
   *     the same id; 1 less the ratio of the next id's weight to its own. With sampling, 1 less the
   *     ratio of the times that decide who is first, where above 15/16 all count as 1
   */
  record Choice(int id, double margin) {}

  /**
   * {@link #next}, and how close the choice was. Of a sampler that chooses another id than the most
   * probable one, and does not say how, nothing is sure.
   */
  default Choice choose(Prediction prediction) {
    int id = next(prediction);
    return new Choice(id, id == prediction.best() ? prediction.relativeMargin() : 0);
  }

  /**
   * Ids that it chooses more readily than their probabilities say, for a draft that need not look
   * at all ids; none unless chance says which.
   */
  default int[] favored(int position, int vocabSize) {
    return NO_IDS;
  }

  /**
   * The token that follows whatever a head says, if there is such a one.
   *
   * @param tokens prompt and text before it
   */
  default OptionalInt forced(Tokens tokens) {
    return OptionalInt.empty();
  }

  /** No favored ids. */
  int[] NO_IDS = {};

  /** The most probable id. */
  static Sampler greedy() {
    return Greedy.INSTANCE;
  }

  /** A sampler of the same token from all ids, so that its probability is among all of them. */
  static Sampler ofAllIds(Sampler sampler) {
    return new OfAllIds(sampler);
  }

  /** See {@link #ofAllIds}. */
  record OfAllIds(Sampler sampler) implements Sampler {
    @Override
    public int next(Prediction prediction) {
      return sampler.next(prediction);
    }

    @Override
    public Choice choose(Prediction prediction) {
      return sampler.choose(prediction);
    }

    @Override
    public int[] favored(int position, int vocabSize) {
      return sampler.favored(position, vocabSize);
    }

    @Override
    public OptionalInt forced(Tokens tokens) {
      return sampler.forced(tokens);
    }
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
