package org.eellm.train;

import java.io.IOException;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.eellm.config.ConfigException;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Keeps a second run out of a folder, on this machine or another that sees it. The system gives it
 * back however the process ends. Its file stays: to remove it would let two in. Where somebody
 * does, {@link #confirm} takes the lock again.
 */
final class RunLock implements AutoCloseable {
  static final String FILE = "run.lock";

  private static final Logger LOG = LoggerFactory.getLogger(RunLock.class);

  /** The byte that is locked, behind all text: Windows lets nobody read what is. */
  private static final long LOCKED = 1L << 20;

  /** The system counts locks by process: one that closes the file anywhere loses all. */
  private static final Set<Path> HELD_HERE = ConcurrentHashMap.newKeySet();

  private final Path folder;
  private FileChannel channel;

  /** The locked file's identity, to tell it from a replacement; null where the system has none. */
  private @Nullable Object key;

  private RunLock(Path folder, FileChannel channel) throws IOException {
    this.folder = folder;
    this.channel = channel;
    this.key = key(folder.resolve(FILE));
  }

  /**
   * Locks a folder that is there.
   *
   * @throws ConfigException if another run has it
   */
  static RunLock acquire(Path path) throws IOException {
    Path folder = path.toRealPath();
    if (!HELD_HERE.add(folder)) {
      throw inUse(path, "a run of this process");
    }
    try {
      Path file = folder.resolve(FILE);
      Optional<FileChannel> channel = lock(file);
      if (channel.isEmpty()) {
        throw inUse(path, holder(file));
      }
      return new RunLock(folder, channel.get());
    } catch (IOException | RuntimeException failure) {
      HELD_HERE.remove(folder);
      throw failure;
    }
  }

  /**
   * Makes sure that the lock keeps others out, and takes it again if its file was removed or
   * replaced.
   *
   * @throws TrainException if another run has come in meanwhile
   */
  void confirm() throws IOException {
    Path file = folder.resolve(FILE);
    if (Files.exists(file) && Objects.equals(key, key(file))) {
      return;
    }
    LOG.warn("{}: was removed or replaced while this run has it; taking it again", file);
    Optional<FileChannel> again = lock(file);
    if (again.isEmpty()) {
      throw new TrainException(
          "%s: was removed or replaced while this run had it, and %s trains here now; this run ends without saving; stop the other one, then resume"
              .formatted(file, holder(file)));
    }
    channel.close();
    channel = again.get();
    key = key(file);
  }

  private static @Nullable Object key(Path file) throws IOException {
    return Files.readAttributes(file, BasicFileAttributes.class).fileKey();
  }

  /** A channel that has the file's lock; empty if another process has that. */
  private static Optional<FileChannel> lock(Path file) throws IOException {
    FileChannel channel =
        FileChannel.open(
            file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
    boolean held;
    try {
      held = channel.tryLock(LOCKED, 1, false) != null;
    } catch (IOException failure) {
      LOG.warn(
          "{}: cannot be locked: {}; see to it that no other run uses the folder",
          file,
          failure.getMessage());
      return Optional.of(channel);
    }
    if (!held) {
      channel.close();
      return Optional.empty();
    }
    channel.truncate(0);
    channel.write(
        ByteBuffer.wrap(
            "process %d on %s%n"
                .formatted(ProcessHandle.current().pid(), InetAddress.getLocalHost().getHostName())
                .getBytes(StandardCharsets.UTF_8)));
    return Optional.of(channel);
  }

  private static String holder(Path file) throws IOException {
    return Files.readString(file).lines().findFirst().orElse("another run");
  }

  private static ConfigException inUse(Path path, String holder) {
    return new ConfigException(
        "--output %s: %s trains in it; wait for that, stop it, or give another folder"
            .formatted(path, holder));
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException failure) {
      throw TrainException.of(folder.resolve(FILE), "cannot be closed", failure);
    } finally {
      HELD_HERE.remove(folder);
    }
  }
}
