package org.eellm.train;

import java.io.IOException;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.eellm.config.ConfigException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Keeps a second run out of a folder, on this machine or another that sees it. The system gives it
 * back however the process ends. Its file stays: to remove it would let two in.
 */
final class RunLock implements AutoCloseable {
  static final String FILE = "run.lock";

  private static final Logger LOG = LoggerFactory.getLogger(RunLock.class);

  /** The system counts locks by process: one that closes the file anywhere loses all. */
  private static final Set<Path> HELD_HERE = ConcurrentHashMap.newKeySet();

  private final Path folder;
  private final FileChannel channel;

  private RunLock(Path folder, FileChannel channel) {
    this.folder = folder;
    this.channel = channel;
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
      return new RunLock(folder, locked(path, folder.resolve(FILE)));
    } catch (IOException | RuntimeException failure) {
      HELD_HERE.remove(folder);
      throw failure;
    }
  }

  private static FileChannel locked(Path path, Path file) throws IOException {
    FileChannel channel =
        FileChannel.open(
            file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
    boolean held;
    try {
      held = channel.tryLock() != null;
    } catch (IOException failure) {
      LOG.warn(
          "{}: cannot be locked: {}; see to it that no other run uses the folder",
          file,
          failure.getMessage());
      return channel;
    }
    if (!held) {
      channel.close();
      throw inUse(path, holder(file).orElse("another run"));
    }
    channel.truncate(0);
    channel.write(
        ByteBuffer.wrap(
            "process %d on %s%n"
                .formatted(ProcessHandle.current().pid(), InetAddress.getLocalHost().getHostName())
                .getBytes(StandardCharsets.UTF_8)));
    return channel;
  }

  private static Optional<String> holder(Path file) throws IOException {
    return Files.readString(file).lines().findFirst();
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
