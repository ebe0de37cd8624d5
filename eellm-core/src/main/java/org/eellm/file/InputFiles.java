package org.eellm.file;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;

/**
 * Reads files that a user, or a folder from elsewhere, names. Opening a named pipe waits for a
 * writer that may never come, and a device such as {@code /dev/zero} has no end, so both are
 * refused before they are opened, and no more is read than a file of its kind has.
 */
public final class InputFiles {
  /** Where a shell puts what it has opened: standard input, or the pipe of {@code <(command)}. */
  private static final List<Path> OPENED_BY_SHELL =
      List.of(Path.of("/dev/stdin"), Path.of("/dev/fd"), Path.of("/proc/self/fd"));

  private InputFiles() {}

  /**
   * Refuses what is there and is no regular file.
   *
   * @throws FileSystemException with a reason for people
   */
  public static void requireRegular(Path file) throws FileSystemException {
    if (Files.isDirectory(file)) {
      throw refusal(file, "is a folder; give a file");
    }
    if (Files.exists(file) && !Files.isRegularFile(file)) {
      throw refusal(file, "is a pipe or a device; give a regular file");
    }
  }

  /** Opens a regular file, to map it or to read it in places. */
  public static FileChannel channel(Path file) throws IOException {
    requireRegular(file);
    return FileChannel.open(file, StandardOpenOption.READ);
  }

  /** Opens a regular file, to read it from front to back. */
  public static InputStream stream(Path file) throws IOException {
    requireRegular(file);
    return Files.newInputStream(file);
  }

  /**
   * A file's text, which has to be UTF-8. A pipe that the shell has opened for the program can be
   * read as well.
   *
   * @param most bytes that a file of its kind has
   * @throws FileSystemException if it has more, or is a pipe or device of another kind
   */
  public static String text(Path file, int most) throws IOException {
    return utf8(bytes(file, most));
  }

  /** A file's bytes, as {@link #text}. */
  public static byte[] bytes(Path file, int most) throws IOException {
    if (OPENED_BY_SHELL.stream().noneMatch(file::startsWith)) {
      requireRegular(file);
      long bytes = Files.size(file);
      if (bytes > most) {
        throw refusal(
            file, "has %d bytes; a file of its kind has %d at most".formatted(bytes, most));
      }
    }
    try (InputStream in = Files.newInputStream(file)) {
      return bytes(in, file, most);
    }
  }

  /**
   * A stream's text likewise.
   *
   * @param name what messages call it
   */
  public static String text(InputStream in, Path name, int most) throws IOException {
    return utf8(bytes(in, name, most));
  }

  private static byte[] bytes(InputStream in, Path name, int most) throws IOException {
    byte[] bytes = in.readNBytes(most);
    if (bytes.length == most && in.read() >= 0) {
      throw refusal(name, "has more than %d bytes, which no file of its kind has".formatted(most));
    }
    return bytes;
  }

  private static String utf8(byte[] bytes) throws IOException {
    return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
  }

  private static FileSystemException refusal(Path file, String reason) {
    return new FileSystemException(file.toString(), null, reason);
  }
}
