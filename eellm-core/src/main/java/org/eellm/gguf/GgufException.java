package org.eellm.gguf;

/** A GGUF file that breaks the format's rules or asks for what is not known, in one line. */
public final class GgufException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public GgufException(String message) {
    super(message);
  }

  GgufException(String message, Throwable cause) {
    super(message, cause);
  }
}
