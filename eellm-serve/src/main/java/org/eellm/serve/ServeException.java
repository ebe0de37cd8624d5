package org.eellm.serve;

/** A server that cannot be started; the message is one line. */
public final class ServeException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public ServeException(String message) {
    super(message);
  }

  public ServeException(String message, Throwable cause) {
    super(message, cause);
  }
}
