package org.eellm.generate;

import java.util.ArrayList;
import java.util.List;
import org.eellm.model.Head;

/** A sequence whose tokens leave where a policy says. */
sealed class ExitingSequence extends Sequence permits PipelineSequence, RecomputingSequence {
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
    begin(hasNewest(rows), List.of());
  }

  /**
   * Starts a step.
   *
   * @param asks whether a next token is to come out
   * @param earlier what was said of it before
   */
  void begin(boolean asks, List<Prediction> earlier) {
    said.clear();
    said.addAll(earlier);
    asking = asks;
    left = false;
  }

  /** Whether a token is to come out of this step, and has not. */
  boolean asking() {
    return asking;
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
      leave(answer);
      asking = false;
      left = true;
    } else {
      said.add(answer);
    }
  }

  /** Lets this step's token leave the model. */
  void leave(Prediction answer) {
    emit(answer, request().sampler().next(answer), false);
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
