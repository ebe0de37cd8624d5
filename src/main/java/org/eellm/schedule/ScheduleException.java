package org.eellm.schedule;

/** A schedule that cannot be made, or is broken; the message is one line for people. */
public final class ScheduleException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public ScheduleException(String message) {
    super(message);
  }
}
