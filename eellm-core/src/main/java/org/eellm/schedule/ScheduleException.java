package org.eellm.schedule;

import java.util.function.Supplier;
import org.eellm.EellmException;

/** A schedule that cannot be made, or is broken; the message is one line for people. */
public final class ScheduleException extends EellmException {
  public ScheduleException(String message) {
    super(message);
  }

  /** Throws unless {@code condition} holds. */
  static void require(boolean condition, Supplier<String> message) {
    if (!condition) {
      throw new ScheduleException(message.get());
    }
  }
}
