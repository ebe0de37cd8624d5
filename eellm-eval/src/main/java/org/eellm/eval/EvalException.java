package org.eellm.eval;

import org.eellm.EellmException;

/** An evaluation that cannot be done. The one-line message says what, where and what to do. */
public final class EvalException extends EellmException {
  public EvalException(String message) {
    super(message);
  }

  public EvalException(String message, Throwable cause) {
    super(message, cause);
  }
}
