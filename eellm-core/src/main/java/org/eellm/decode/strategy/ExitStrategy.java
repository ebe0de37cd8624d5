package org.eellm.decode.strategy;

import java.util.List;
import org.eellm.decode.exit.ExitDecision;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.token.Prediction;
import org.eellm.model.Head;

/** Tokens leave where a policy says. */
final class ExitStrategy implements DecodingStrategy {
  private final ExitDecision exitDecision;
  private final AfterExit afterExit;

  /** What becomes of the rows of a token that has left. */
  enum AfterExit {
    /** They wait where it left, and pass the layers above in front of later rows. */
    PEND,
    /** They start anew from layer 1 with the next token. */
    RECOMPUTE,
    /** They leave keys and values at the layers above, and are done. */
    PROPAGATE
  }

  ExitStrategy(ExitPolicy policy, AfterExit afterExit) {
    exitDecision = new ExitDecision(policy);
    this.afterExit = afterExit;
  }

  @Override
  public void beginStep(Sequence sequence) {
    exitDecision.begin(sequence.includesNewest());
  }

  @Override
  public int rowsToPredict(Sequence sequence, Head head) {
    return exitDecision.isOpen() ? 1 : 0;
  }

  @Override
  public List<Prediction> earlier() {
    return exitDecision.earlier();
  }

  @Override
  public void onPredictions(Sequence sequence, List<Prediction> predictions) {
    Prediction prediction = predictions.getLast();
    if (exitDecision.decide(prediction, sequence.isLast(prediction.head()))) {
      sequence.emit(prediction, sequence.request().sampler().next(prediction), false);
    }
  }

  @Override
  public TapAction atTap(Sequence sequence, int rows, int maxPending) {
    return switch (afterExit) {
      // Rows of a step that brings no token, a part of the prompt, wait too: they go on later just
      // as exactly, with more rows at once.
      case PEND ->
          !exitDecision.isOpen() && rows < maxPending ? TapAction.PEND : TapAction.CONTINUE;
      // Such rows go on here: they would only be computed again from layer 1.
      case RECOMPUTE ->
          exitDecision.hasLeft() && rows < maxPending ? TapAction.RECOMPUTE : TapAction.CONTINUE;
      // And here: prompts pass all layers, and only what was generated is propagated.
      case PROPAGATE ->
          exitDecision.hasLeft()
                  && sequence.frontier().inFlight().first() >= sequence.tokens().promptSize()
              ? TapAction.PROPAGATE
              : TapAction.CONTINUE;
    };
  }
}
