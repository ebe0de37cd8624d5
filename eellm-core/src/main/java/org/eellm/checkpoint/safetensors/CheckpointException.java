package org.eellm.checkpoint.safetensors;

import org.eellm.EellmException;

/**
 * A checkpoint or model folder that cannot be read or written. The one-line message names the file,
 * what is wrong with it and what to do.
 */
public final class CheckpointException extends EellmException {
  private static final long serialVersionUID = 1L;

  public CheckpointException(String message) {
    super(message);
  }

  public CheckpointException(String message, Throwable cause) {
    super(message, cause);
  }
}
