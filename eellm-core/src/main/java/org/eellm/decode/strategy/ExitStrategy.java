package org.eellm.decode.strategy;

import java.util.List;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.token.Prediction;
import org.eellm.model.Head;

/** Tokens leave where a policy says. */
final class ExitStrategy implements DecodingStrategy {
  private final ExitDecision exitDecision;
  private final TapAction afterwards;

  /**
   * @param afterwards what becomes of the rows of tokens that have left
   */
  ExitStrategy(ExitPolicy policy, TapAction afterwards) {
    exitDecision = new ExitDecision(policy);
    this.afterwards = afterwards;
  }

  @Override
  public void begin(Sequence sequence) {
    exitDecision.begin(sequence.includesNewest());
  }

  @Override
  public int asked(Sequence sequence, Head head) {
    return exitDecision.isOpen() ? 1 : 0;
  }

  @Override
  public List<Prediction> earlier() {
    return exitDecision.earlier();
  }

  @Override
  public void onPredictions(Sequence sequence, List<Prediction> predictions) {
    Prediction prediction = predictions.getLast();
    if (exitDecision.leaves(sequence, prediction)) {
      sequence.emit(prediction, sequence.request().sampler().next(prediction), false);
    }
  }

  @Override
  public TapAction atTap(Sequence sequence, int rows, int maxPending) {
    boolean stops =
        switch (afterwards) {
          case CONTINUE -> false;
          case PEND -> !exitDecision.isOpen() && rows < maxPending;
          case RECOMPUTE -> exitDecision.hasLeft() && rows < maxPending;
          case PROPAGATE ->
              exitDecision.hasLeft()
                  && sequence.frontier().inFlight().first() >= sequence.tokens().promptSize();
        };
    return stops ? afterwards : TapAction.CONTINUE;
  }
}
