package org.eellm.decode.strategy;

import java.util.List;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.token.Prediction;
import org.eellm.model.Head;

/** Tokens leave where a policy says. */
final class ExitStrategy implements Strategy {
  private final ExitQuestion question;
  private final Course afterwards;

  /**
   * @param afterwards what becomes of the rows of tokens that have left
   */
  ExitStrategy(ExitPolicy policy, Course afterwards) {
    question = new ExitQuestion(policy);
    this.afterwards = afterwards;
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
    boolean stops =
        switch (afterwards) {
          case GO_ON -> false;
          case WAIT -> !question.isOpen() && rows < maxPending;
          case START_ANEW -> question.hasLeft() && rows < maxPending;
          case PROPAGATE ->
              question.hasLeft()
                  && sequence.frontier().moving().first() >= sequence.tokens().promptSize();
        };
    return stops ? afterwards : Course.GO_ON;
  }
}
