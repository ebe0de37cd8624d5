package org.eellm.decode.request;

import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TokenListener.Reaction;

/**
 * Receives one request's tokens and result, on the thread that computes: what takes long here holds
 * all others up. After the tokens comes exactly one of {@link #onEnd} and {@link #onFailure}.
 */
@FunctionalInterface
public interface RequestListener {

  /** The next token, as soon as it leaves the model; whether the text is to go on. */
  Reaction onToken(GeneratedToken token);

  /**
   * The step is done, and all texts of the batch have its tokens: the moment to hand them on, since
   * who is woken before competes with the step for the processor.
   */
  default void onStep() {}

  /** The full model has verified a draft; what it accepted came by {@link #onToken} before. */
  default void onDraft(Draft draft) {}

  /** The text is complete, or was cancelled. */
  default void onEnd(Result result) {}

  /**
   * There will be no further token.
   *
   * @param cause what the model, the policy, the sampler or this listener threw
   */
  default void onFailure(RuntimeException cause) {}
}
