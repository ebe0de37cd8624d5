package org.eellm.generate;

import java.util.ArrayList;
import java.util.List;
import org.eellm.model.Head;

/** A text that is there already: hears of each of its tokens what stands next. */
final class ScoringSequence extends Sequence {
  private final List<Integer> text;
  private final List<GeneratedToken> scores = new ArrayList<>();
  private int rows;

  /**
   * @param text the job's prompt, and one more token
   */
  ScoringSequence(Job job, SequenceCache cache, List<Integer> text) {
    super(job, cache, 0);
    this.text = text;
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
    for (Prediction prediction : said) {
      scores.add(token(prediction, text.get(prediction.position()), false));
    }
  }

  @Override
  boolean stop(int waiting, int maxPending) {
    return false;
  }

  /** The tokens after the first that have been heard of, in order. */
  List<GeneratedToken> scores() {
    return scores;
  }
}
