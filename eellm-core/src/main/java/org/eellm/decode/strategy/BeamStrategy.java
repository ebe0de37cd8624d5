package org.eellm.decode.strategy;

import java.util.List;
import org.eellm.decode.token.GeneratedToken.Alternative;
import org.eellm.decode.token.Prediction;
import org.eellm.model.Head;

/**
 * A beginning that a beam search goes on with: nothing is emitted, but how it may go on is told.
 */
public final class BeamStrategy implements DecodingStrategy {
  private final int width;
  private List<Alternative> next = List.of();
  private double confidence;
  private boolean expectsToken;

  /**
   * @param width how many continuations to tell
   */
  public BeamStrategy(int width) {
    this.width = width;
  }

  @Override
  public void beginStep(Sequence sequence) {
    expectsToken = sequence.includesNewest();
  }

  @Override
  public int rowsToPredict(Sequence sequence, Head head) {
    return expectsToken ? 1 : 0;
  }

  @Override
  public void onPredictions(Sequence sequence, List<Prediction> predictions) {
    next = predictions.getLast().top(width);
    confidence = predictions.getLast().maxProbability();
  }

  @Override
  public TapAction atTap(Sequence sequence, int rows, int maxPending) {
    return TapAction.CONTINUE;
  }

  /** The most probable next ids, best first; none before the newest token has gone in. */
  public List<Alternative> next() {
    return next;
  }

  /** The probability of the best of them. */
  public double confidence() {
    return confidence;
  }
}
