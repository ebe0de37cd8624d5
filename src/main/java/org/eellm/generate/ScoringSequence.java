package org.eellm.generate;

import java.util.List;
import org.eellm.generate.Result.FinishReason;
import org.eellm.generate.TokenListener.Reaction;
import org.eellm.model.Head;

/** A text that is there already: hears of each of its tokens what stands next. */
final class ScoringSequence extends Sequence {
  private final Decoding.Score score;
  private int rows;

  ScoringSequence(Job job, SequenceCache cache, int reused, Decoding.Score score) {
    super(job, cache, reused);
    this.score = score;
  }

  @Override
  void begin(Span span) {
    rows = Math.clamp(span.end() + 1L - score.from(), 0, span.count());
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
      int id = position < prompt.size() ? prompt.get(position) : score.last();
      score.listener().hear(prediction, id);
      if (handOut(token(prediction, id, false)) == Reaction.STOP) {
        finish(FinishReason.STOPPED);
        return;
      }
      if (position == prompt.size() && isLast(prediction.head())) {
        finish(FinishReason.LENGTH);
      }
    }
  }

  @Override
  boolean stop(int waiting, int maxPending) {
    return false;
  }
}
