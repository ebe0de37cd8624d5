package org.eellm.distributed;

import org.eellm.EellmException;

/** Ranks that cannot find, hear or understand each other; the message is one line. */
public class DistributedException extends EellmException {
  public DistributedException(String message) {
    super(message);
  }

  public DistributedException(String message, Throwable cause) {
    super(message, cause);
  }
}
