package org.eellm.generate;

/** A sequence whose layers are on several ranks, each of which has its part of it. */
sealed class PipelineSequence extends ExitingSequence permits StageSequence {
  private final int number;

  /**
   * @param number of the request, by which the ranks know it
   */
  PipelineSequence(int number, Job job, SequenceCache cache, ExitPolicy policy) {
    super(job, cache, 0, policy);
    this.number = number;
  }

  int number() {
    return number;
  }
}
