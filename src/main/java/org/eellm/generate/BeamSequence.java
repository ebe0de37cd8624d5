package org.eellm.generate;

import java.util.List;
import org.eellm.generate.GeneratedToken.Alternative;
import org.eellm.model.Head;

/**
 * A beginning that a beam search goes on with: it hands nothing out, but tells how it may go on.
 */
final class BeamSequence extends Sequence {
  private final int width;
  private List<Alternative> next = List.of();
  private double confidence;
  private boolean asking;

  /**
   * @param width how many continuations to tell
   */
  BeamSequence(Job job, SequenceCache cache, int reused, int width) {
    super(job, cache, reused);
    this.width = width;
  }

  @Override
  void begin(Span rows) {
    asking = hasNewest(rows);
  }

  @Override
  int rowsFor(Head head) {
    return asking ? 1 : 0;
  }

  @Override
  void hear(List<Prediction> said) {
    next = said.getLast().top(width);
    confidence = said.getLast().maxProbability();
  }

  @Override
  boolean stop(int rows, int maxPending) {
    return false;
  }

  /** The most probable next ids, best first; none before the newest token has gone in. */
  List<Alternative> next() {
    return next;
  }

  /** The probability of the best of them. */
  double confidence() {
    return confidence;
  }
}
