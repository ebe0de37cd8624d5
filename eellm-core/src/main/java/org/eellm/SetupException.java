package org.eellm;

/** Java was started, or the class path made, in a way that eellm cannot work with. */
public final class SetupException extends EellmException {
  private static final long serialVersionUID = 1L;

  SetupException(String message) {
    super(message);
  }

  SetupException(String message, Throwable cause) {
    super(message, cause);
  }
}
