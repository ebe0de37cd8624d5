package org.eellm.train;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/**
 * A run that cannot go on. The one-line message names the step or file, the value, and the remedy.
 */
public final class TrainException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public TrainException(String message) {
    super(message);
  }

  public TrainException(String message, Throwable cause) {
    super(message, cause);
  }

  /** A file that could not be used, as {@code path: what: why}. */
  public static TrainException of(Path path, String what, IOException cause) {
    String reason =
        switch (cause) {
          case NoSuchFileException _ -> "no such file";
          case AccessDeniedException _ -> "access denied";
          case FileSystemException e when e.getReason() != null -> e.getReason();
          default -> String.valueOf(cause.getMessage());
        };
    return new TrainException(path + ": " + what + ": " + reason, cause);
  }
}
