package org.eellm.generate;

import java.util.List;
import org.eellm.model.Head;

/**
 * Tokens leave where a policy says, and their positions start anew from layer 1 until a token
 * passes all layers.
 */
final class RecomputeStrategy implements Strategy {
  private final ExitQuestion question;

  RecomputeStrategy(ExitPolicy policy) {
    question = new ExitQuestion(policy);
  }

  @Override
  public void begin(Sequence sequence) {
    question.begin(sequence.movesNewest());
  }

  @Override
  public int asked(Sequence sequence, Head head) {
    return question.isOpen() ? 1 : 0;
  }

  @Override
  public List<Prediction> earlier() {
    return question.earlier();
  }

  @Override
  public void onPredictions(Sequence sequence, List<Prediction> predictions) {
    Prediction prediction = predictions.getLast();
    if (question.leaves(sequence, prediction)) {
      sequence.emit(prediction, sequence.request().sampler().next(prediction), false);
    }
  }

  @Override
  public Course atTap(Sequence sequence, int rows, int maxPending) {
    return question.hasLeft() && rows < maxPending ? Course.START_ANEW : Course.GO_ON;
  }
}
