package org.eellm.distributed;

/** Ranks that cannot find, hear or understand each other; the message is one line. */
public class DistributedException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public DistributedException(String message) {
    super(message);
  }

  public DistributedException(String message, Throwable cause) {
    super(message, cause);
  }
}
