package org.eellm.generate;

/**
 * A sequence whose layers are on several ranks, each of which has its part of it.
 *
 * <p>The first stage may go on with a guess at a token that later stages have yet to answer. If the
 * guess was wrong it takes back what followed and begins another attempt: rows of a new attempt
 * replace what was there from the first of them on.
 */
abstract sealed class PipelineSequence extends ExitingSequence
    permits LeadingSequence, StageSequence {
  private final int number;
  private int attempt;

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

  /** How often tokens have been taken back so far. */
  int attempt() {
    return attempt;
  }

  /** Tells how often tokens have been taken back, now that some have. */
  void startAttempt(int later) {
    attempt = later;
  }
}
