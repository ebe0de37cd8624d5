package org.eellm.serve;

import org.eellm.EellmException;

/** A server that cannot be started; the message is one line. */
public final class ServeException extends EellmException {
  public ServeException(String message) {
    super(message);
  }

  public ServeException(String message, Throwable cause) {
    super(message, cause);
  }
}
