package org.eellm.decode.strategy;

import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.request.Request;
import org.eellm.decode.token.Prediction;
import org.eellm.model.Head;

/**
 * Tokens leave where a policy says. Gates ask exits for the short list of ids; where a token leaves
 * and all ids matter, its exit is asked for these as well.
 */
final class ExitStrategy implements DecodingStrategy {
  private final ExitPolicy policy;
  private final AfterExit afterExit;
  private final boolean gated;
  private final List<Prediction> earlier = new ArrayList<>(); // of the token, shallowest head first
  private boolean open; // a token is to come out of this step, and has not yet
  private boolean hasLeft; // it has come out
  private boolean choosing; // the token leaves at an exit that is yet to be asked for all ids

  /** The action on the rows of a token that has left. */
  enum AfterExit {
    /** They wait where it left, and pass the layers above in front of later rows. */
    PEND,
    /** They start anew from layer 1 with the next token. */
    RECOMPUTE,
    /** They leave keys and values at the layers above, and are done. */
    PROPAGATE
  }

  ExitStrategy(ExitPolicy policy, AfterExit afterExit) {
    this.policy = policy;
    this.afterExit = afterExit;
    gated = !policy.gates().isEmpty();
  }

  @Override
  public void beginStep(Sequence sequence) {
    earlier.clear();
    open = sequence.includesNewest();
    hasLeft = false;
    choosing = false;
  }

  @Override
  public int rowsToPredict(Sequence sequence, Head head) {
    boolean asksForToken =
        !(policy instanceof GuessPolicy) || sequence.isLast(head) || sequence.guesses().pay();
    return open && asksForToken || choosing ? 1 : 0;
  }

  @Override
  public boolean draftsAt(Sequence sequence, Head head) {
    return gated && head.isExit() && !choosing;
  }

  @Override
  public List<Prediction> earlier(int row) {
    return earlier;
  }

  /** The sampler's token by the last exit that was asked. */
  @Override
  public OptionalInt guess(Sequence sequence) {
    return afterExit == AfterExit.PEND && !gated && open && !earlier.isEmpty()
        ? OptionalInt.of(sequence.request().sampler().next(earlier.getLast()))
        : OptionalInt.empty();
  }

  @Override
  public DecodingStrategy another() {
    return new ExitStrategy(policy, afterExit);
  }

  @Override
  public void onPredictions(Sequence sequence, List<Prediction> predictions) {
    Prediction prediction = predictions.getLast();
    if (!choosing && !sequence.isLast(prediction.head()) && !policy.leaves(prediction)) {
      earlier.add(prediction);
      return;
    }
    open = false;
    hasLeft = true;
    choosing = !choosing && gated && prediction.head().isExit() && needsAllIds(sequence.request());
    if (!choosing) {
      sequence.emit(prediction, sequence.request().sampler().next(prediction), false);
    }
  }

  private static boolean needsAllIds(Request request) {
    return request.alternatives() > 0 || !request.sampler().takesBest();
  }

  @Override
  public TapAction atTap(Sequence sequence, int rows, int maxPending) {
    return switch (afterExit) {
      // Rows of a step that brings no token, a part of the prompt, wait too: they go on later just
      // as exactly, with more rows at once.
      case PEND -> !open && rows < maxPending ? TapAction.PEND : TapAction.CONTINUE;
      // Such rows go on here: they would only be computed again from layer 1.
      case RECOMPUTE -> hasLeft && rows < maxPending ? TapAction.RECOMPUTE : TapAction.CONTINUE;
      // And here: prompts pass all layers, and only what was generated is propagated.
      case PROPAGATE ->
          hasLeft && sequence.frontier().inFlight().first() >= sequence.tokens().promptSize()
              ? TapAction.PROPAGATE
              : TapAction.CONTINUE;
    };
  }
}
