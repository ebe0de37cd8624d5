package org.eellm.gguf;

import org.eellm.EellmException;
import org.eellm.file.Shown;

/** A GGUF file that breaks the format's rules or asks for what is not known, in one line. */
public final class GgufException extends EellmException {
  /** Names in a damaged file may be as long as the file. */
  private static final int MOST = 400;

  public GgufException(String message) {
    super(Shown.of(message, MOST));
  }

  GgufException(String message, Throwable cause) {
    super(Shown.of(message, MOST), cause);
  }
}
