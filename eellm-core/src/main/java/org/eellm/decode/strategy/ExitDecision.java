package org.eellm.decode.strategy;

import java.util.ArrayList;
import java.util.List;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.token.Prediction;

/** At which head the token being generated leaves: the exit policy is asked head by head. */
public final class ExitDecision {
  private final ExitPolicy policy;
  private final List<Prediction> earlier = new ArrayList<>();
  private boolean open;
  private boolean hasLeft;

  ExitDecision(ExitPolicy policy) {
    this.policy = policy;
  }

  /**
   * Starts a step.
   *
   * @param needsToken whether a next token is to come out
   */
  void begin(boolean needsToken) {
    earlier.clear();
    open = needsToken;
    hasLeft = false;
  }

  /**
   * Starts a step on a later stage of a pipeline.
   *
   * @param needsToken whether a next token is to come out
   * @param known what was predicted of it before
   */
  void begin(boolean needsToken, List<Prediction> known) {
    begin(needsToken);
    earlier.addAll(known);
  }

  /** Whether a token is to come out of this step, and has not. */
  public boolean isOpen() {
    return open;
  }

  /** Whether this step's token has left the model. */
  boolean hasLeft() {
    return hasLeft;
  }

  /** What was predicted of the token so far, shallowest head first; changes. */
  public List<Prediction> earlier() {
    return earlier;
  }

  /** Whether the token leaves at the head that predicts this. */
  boolean leaves(Sequence sequence, Prediction prediction) {
    if (sequence.isLast(prediction.head()) || policy.leaves(prediction)) {
      open = false;
      hasLeft = true;
      return true;
    }
    earlier.add(prediction);
    return false;
  }
}
