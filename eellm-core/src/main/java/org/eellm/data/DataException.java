package org.eellm.data;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.NoSuchFileException;
import java.util.Objects;
import org.eellm.EellmException;
import org.eellm.file.IoErrors;

/**
 * Data or a tokenizer that cannot be used. The one-line message names the file, the place in it,
 * what is wrong and the remedy.
 */
public final class DataException extends EellmException {
  public DataException(String message) {
    super(message);
  }

  public DataException(String message, Throwable cause) {
    super(message, cause);
  }

  /** A file or folder that cannot be read. */
  public static DataException unreadable(Object place, Exception cause) {
    return new DataException("%s: cannot be read: %s".formatted(place, reason(cause)), cause);
  }

  /** The reason why a file failed, for people; Java's messages are often but its path. */
  public static String reason(Throwable e) {
    return switch (e) {
      case UncheckedIOException _ when e.getCause() instanceof IOException cause -> reason(cause);
      case NoSuchFileException missing -> missing.getFile() + " is not there";
      case AccessDeniedException denied -> denied.getFile() + " may not be opened by this user";
      case FileAlreadyExistsException file -> file.getFile() + " is not a folder";
      case IOException other -> IoErrors.reason(other);
      default -> Objects.requireNonNullElse(e.getMessage(), e.getClass().getSimpleName());
    };
  }
}
