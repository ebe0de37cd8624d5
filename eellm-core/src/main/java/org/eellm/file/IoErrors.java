package org.eellm.file;

import com.fasterxml.jackson.core.JsonProcessingException;
import java.io.EOFException;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Objects;

/** Says in words for people what an {@link IOException} says in its class. */
public final class IoErrors {
  private IoErrors() {}

  /** The reason of a failure, without the file's name. */
  public static String reason(IOException failure) {
    return switch (failure) {
      case CharacterCodingException _ -> "not UTF-8 text";
      case EOFException _ -> "ends too early";
      case NoSuchFileException _ -> "no such file or folder";
      case AccessDeniedException _ -> "access denied";
      case FileAlreadyExistsException _ -> "exists already";
      case DirectoryNotEmptyException _ -> "folder is not empty";
      case NotDirectoryException _ -> "not a folder";
      case JsonProcessingException json -> JsonErrors.reason(json);
      case FileSystemException system when system.getReason() != null -> system.getReason();
      default -> Objects.toString(failure.getMessage(), "input/output error");
    };
  }

  /** Bytes that can still be written where {@code path} lies, in words. */
  public static String freeSpace(Path path) {
    try {
      return bytes(Files.getFileStore(path).getUsableSpace()) + " free";
    } catch (IOException failure) {
      return "free space unknown";
    }
  }

  /** A number of bytes as people read it: {@code 512 B}, {@code 1.5 MB}. */
  public static String bytes(double count) {
    String[] units = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double value = count;
    int unit = 0;
    while (value >= 1000 && unit < units.length - 1) {
      value /= 1000;
      unit++;
    }
    String format = unit == 0 ? "%.0f %s" : value < 1e6 ? "%.1f %s" : "%.0e %s";
    return String.format(Locale.ROOT, format, value, units[unit]);
  }
}
