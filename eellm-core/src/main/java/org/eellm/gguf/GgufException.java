package org.eellm.gguf;

import org.eellm.EellmException;

/** A GGUF file that breaks the format's rules or asks for what is not known, in one line. */
public final class GgufException extends EellmException {
  private static final long serialVersionUID = 1L;

  public GgufException(String message) {
    super(message);
  }

  GgufException(String message, Throwable cause) {
    super(message, cause);
  }
}
