package org.eellm;

/**
 * What eellm cannot do, for a reason that its user can see to: a model that is not there, a setting
 * that cannot be honoured, a prompt that does not fit. All exceptions of eellm's own are of this
 * family; the message is one line for people. A program that is wrong gets Java's own exceptions.
 */
public abstract class EellmException extends RuntimeException {
  protected EellmException(String message) {
    super(message);
  }

  protected EellmException(String message, Throwable cause) {
    super(message, cause);
  }
}
