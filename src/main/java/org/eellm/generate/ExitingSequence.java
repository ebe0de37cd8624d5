package org.eellm.generate;

import java.util.ArrayList;
import java.util.List;
import org.eellm.model.Head;

/** A sequence whose tokens leave where a policy says. */
sealed class ExitingSequence extends Sequence permits RecomputingSequence {
  private final ExitPolicy policy;
  private final List<Prediction> said = new ArrayList<>(); // of the token in the making
  private boolean asking;
  private boolean left;

  ExitingSequence(Job job, SequenceCache cache, int reused, ExitPolicy policy) {
    super(job, cache, reused);
    this.policy = policy;
  }

  @Override
  void begin(Span rows) {
    said.clear();
    asking = hasNewest(rows);
    left = false;
  }

  @Override
  int rowsFor(Head head) {
    return asking ? 1 : 0;
  }

  @Override
  List<Prediction> said() {
    return said;
  }

  @Override
  void hear(List<Prediction> answers) {
    Prediction answer = answers.getLast();
    if (isLast(answer.head()) || policy.leaves(answer)) {
      emit(answer, request().sampler().next(answer), false);
      asking = false;
      left = true;
    } else {
      said.add(answer);
    }
  }

  /** Whether this step's token has left the model. */
  boolean hasLeft() {
    return left;
  }

  @Override
  boolean stop(int rows, int maxPending) {
    return !asking && rows < maxPending;
  }
}
