package org.eellm.tensor;

import org.eellm.EellmException;

/** A tensor operation that cannot be done; the message is one line. */
public final class TensorException extends EellmException {
  public TensorException(String message) {
    super(message);
  }

  public TensorException(String message, Throwable cause) {
    super(message, cause);
  }
}
