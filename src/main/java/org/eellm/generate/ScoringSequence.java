package org.eellm.generate;

import java.util.List;
import org.eellm.generate.Result.FinishReason;
import org.eellm.generate.TokenListener.Reaction;
import org.eellm.model.Head;

/** A text that is there already: hears of each of its tokens what stands next. */
final class ScoringSequence extends Sequence {
  private final int last;
  private int rows;

  /**
   * @param last the token after the prompt
   */
  ScoringSequence(Job job, SequenceCache cache, int reused, int last) {
    super(job, cache, reused);
    this.last = last;
  }

  @Override
  void begin(Span span) {
    rows = span.count();
  }

  @Override
  int rowsFor(Head head) {
    return rows;
  }

  @Override
  void hear(List<Prediction> said) {
    List<Integer> prompt = request().prompt();
    for (Prediction prediction : said) {
      int position = prediction.position();
      int id = position < prompt.size() ? prompt.get(position) : last;
      if (handOut(token(prediction, id, false)) == Reaction.STOP) {
        finish(FinishReason.STOPPED);
        return;
      }
      if (position == prompt.size()) {
        finish(FinishReason.LENGTH);
      }
    }
  }

  @Override
  boolean stop(int waiting, int maxPending) {
    return false;
  }
}
