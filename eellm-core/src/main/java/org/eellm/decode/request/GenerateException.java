package org.eellm.decode.request;

import org.eellm.EellmException;

/** A prompt or model that nothing can be generated from; the message is one line. */
public final class GenerateException extends EellmException {
  public GenerateException(String message) {
    super(message);
  }
}
