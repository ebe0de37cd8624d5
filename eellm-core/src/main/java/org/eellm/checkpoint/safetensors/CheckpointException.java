package org.eellm.checkpoint.safetensors;

import java.io.IOException;
import java.nio.file.Path;
import org.eellm.EellmException;
import org.eellm.file.IoErrors;

/**
 * A checkpoint or model folder that cannot be read or written. The one-line message names the file,
 * what is wrong with it and what to do.
 */
public final class CheckpointException extends EellmException {
  public CheckpointException(String message) {
    super(message);
  }

  public CheckpointException(String message, Throwable cause) {
    super(message, cause);
  }

  /** A file or folder that cannot be read. */
  public static CheckpointException unreadable(Path path, IOException cause) {
    return new CheckpointException(
        "%s: cannot be read: %s".formatted(path, IoErrors.reason(cause)), cause);
  }
}
