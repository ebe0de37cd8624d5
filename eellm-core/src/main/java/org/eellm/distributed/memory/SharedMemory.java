package org.eellm.distributed.memory;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Set;
import java.util.UUID;

/** Memory that processes of one machine share: a file that never reaches a disk. */
public final class SharedMemory {
  /** Where such files are. */
  public static final Path FOLDER = Path.of("/dev/shm");

  private static final int BLOCK_BYTES = 1 << 20;

  private SharedMemory() {}

  /** Whether this system has a place for such files: Linux has. */
  public static boolean isSupported() {
    return Files.isWritable(FOLDER);
  }

  /**
   * Makes a file of zeros that nobody else may open. All of it is allocated: memory that turns out
   * missing later would kill the process.
   *
   * @throws IOException if there is no room
   */
  public static Path create(long bytes) throws IOException {
    Path file = FOLDER.resolve("eellm-" + UUID.randomUUID());
    file.toFile().deleteOnExit(); // of a start that is broken off
    try (FileChannel channel =
        FileChannel.open(
            file,
            Set.of(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")))) {
      ByteBuffer zeros = ByteBuffer.allocateDirect(BLOCK_BYTES);
      for (long left = bytes; left > 0; ) {
        left -= channel.write(zeros.clear().limit((int) Math.min(left, BLOCK_BYTES)));
      }
    } catch (IOException e) {
      Files.deleteIfExists(file);
      throw e;
    }
    return file;
  }

  /** Deletes a file, which those who have mapped it go on using. */
  public static void delete(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      throw new UncheckedIOException("cannot delete " + file, e);
    }
  }

  /**
   * Maps a file, which may be deleted then; the memory goes when nobody uses it.
   *
   * @throws IOException if it is not there, as on another machine
   */
  public static MemorySegment map(Path file, long bytes) throws IOException {
    try (FileChannel channel =
        FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      return channel.map(MapMode.READ_WRITE, 0, bytes, Arena.ofAuto());
    }
  }
}
