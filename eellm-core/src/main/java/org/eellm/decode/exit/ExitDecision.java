package org.eellm.decode.exit;

import java.util.ArrayList;
import java.util.List;
import org.eellm.decode.token.Prediction;

/**
 * Decides where the token being generated leaves the model: asks the policy head by head, and keeps
 * what it said for the step. What becomes of the token and its rows then, strategies say.
 */
public final class ExitDecision {
  private final ExitPolicy policy;
  private final List<Prediction> earlier = new ArrayList<>();
  private boolean open;
  private boolean hasLeft;

  public ExitDecision(ExitPolicy policy) {
    this.policy = policy;
  }

  /**
   * Starts a step.
   *
   * @param needsToken whether a next token is to come out
   */
  public void begin(boolean needsToken) {
    earlier.clear();
    open = needsToken;
    hasLeft = false;
  }

  /** Whether a token is to come out of this step, and has not yet: heads are still to be asked. */
  public boolean isOpen() {
    return open;
  }

  /** Whether this step was to bring a token, and it has left the model. */
  public boolean hasLeft() {
    return hasLeft;
  }

  /** The predictions of the token so far, shallowest head first; the list changes. */
  public List<Prediction> earlier() {
    return earlier;
  }

  /**
   * Whether a token leaves at the head that predicts this.
   *
   * @param isLast whether there is no head above that the token could leave at
   */
  public static boolean leaves(ExitPolicy policy, Prediction prediction, boolean isLast) {
    return isLast || policy.leaves(prediction);
  }

  /**
   * Decides whether the token leaves at the head that predicts this, and remembers it.
   *
   * @param isLast whether there is no head above that the token could leave at
   */
  public boolean decide(Prediction prediction, boolean isLast) {
    if (leaves(policy, prediction, isLast)) {
      open = false;
      hasLeft = true;
      return true;
    }
    earlier.add(prediction);
    return false;
  }
}
