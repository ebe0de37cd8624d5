package org.eellm.schedule;

/** The order in which stages work on the microbatches of a step; see {@link Schedules}. */
public enum ScheduleKind {
  /** All forward passes, then all backward passes; keeps every microbatch's activations. */
  ALL_FORWARD_ALL_BACKWARD("all forward, all backward"),
  /** One forward, one backward in turn; stage s keeps the activations of P - s microbatches. */
  ONE_F_ONE_B("1F1B"),
  /** 1F1B with several chunks a stage, for smaller bubbles. */
  INTERLEAVED("interleaved 1F1B"),
  /** 1F1B in which weight gradients come later, where a stage would wait (arXiv 2401.10241). */
  ZERO_BUBBLE("zero bubble"),
  /** Forward only; each stage's heads learn as a microbatch passes, nothing flows back. */
  TUNING("tuning");

  private final String title;

  ScheduleKind(String title) {
    this.title = title;
  }

  /** Whether the gradients of matrices are actions of their own. */
  public boolean splitsBackward() {
    return this == ZERO_BUBBLE;
  }

  /** Its name for people. */
  public String title() {
    return title;
  }
}
