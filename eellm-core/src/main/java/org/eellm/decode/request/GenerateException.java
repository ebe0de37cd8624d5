package org.eellm.decode.request;

/** A prompt or model that nothing can be generated from; the message is one line. */
public final class GenerateException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public GenerateException(String message) {
    super(message);
  }
}
