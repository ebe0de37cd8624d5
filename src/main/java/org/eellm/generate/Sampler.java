package org.eellm.generate;

/** Chooses a sequence's next token from what the head says at which it leaves. */
@FunctionalInterface
public interface Sampler {

  /**
   * The id of the token at {@link Prediction#position}. The answer depends on the prediction alone:
   * a pipeline also asks, as a guess, for tokens that are never handed out.
   */
  int next(Prediction prediction);

  /**
   * A token that is proposed, for the full model to judge.
   *
   * @param verdict chooses the token that comes there when the full model has spoken; it is {@code
   *     id} if the proposal holds
   */
  record Draft(int id, Sampler verdict) {}

  /**
   * Proposes a token from what an exit says. Here the proposal holds if this sampler chooses the
   * same from what the full model says; so whatever the exit says, the text is the full model's.
   */
  default Draft draft(Prediction prediction) {
    return new Draft(next(prediction), this);
  }

  /** The most probable id. */
  static Sampler greedy() {
    return Prediction::best;
  }
}
