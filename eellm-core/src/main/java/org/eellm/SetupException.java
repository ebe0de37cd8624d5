package org.eellm;

/** Java was started, or the class path made, in a way that eellm cannot work with. */
public final class SetupException extends EellmException {
  SetupException(String message) {
    super(message);
  }

  SetupException(String message, Throwable cause) {
    super(message, cause);
  }
}
