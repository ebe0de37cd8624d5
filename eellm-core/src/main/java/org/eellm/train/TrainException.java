package org.eellm.train;

import java.io.IOException;
import java.nio.file.Path;
import org.eellm.EellmException;
import org.eellm.file.IoErrors;

/**
 * A run that cannot go on. The one-line message names the step or file, the value, and the remedy.
 */
public final class TrainException extends EellmException {
  public TrainException(String message) {
    super(message);
  }

  public TrainException(String message, Throwable cause) {
    super(message, cause);
  }

  /** A file that could not be used, as {@code path: what: why}. */
  public static TrainException of(Path path, String what, IOException cause) {
    return new TrainException(path + ": " + what + ": " + IoErrors.reason(cause), cause);
  }
}
