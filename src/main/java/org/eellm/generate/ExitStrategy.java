package org.eellm.generate;

import java.util.List;
import org.eellm.model.Head;

/** Tokens leave where a policy says; their rows wait there. */
final class ExitStrategy implements Strategy {
  private final ExitQuestion question;

  ExitStrategy(ExitPolicy policy) {
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
    return !question.isOpen() && rows < maxPending ? Course.WAIT : Course.GO_ON;
  }
}
