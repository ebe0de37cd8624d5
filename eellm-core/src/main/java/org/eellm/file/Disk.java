package org.eellm.file;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** What is on the disk, and not in the system's memory alone. */
public final class Disk {
  private static final boolean IS_WINDOWS = System.getProperty("os.name").startsWith("Windows");

  private Disk() {}

  /**
   * Waits until a file's content or a folder's list of names is on the disk. Windows opens no
   * folder, keeps names in a journal, and lets only who may write wait.
   */
  public static void sync(Path path) throws IOException {
    if (IS_WINDOWS && Files.isDirectory(path)) {
      return;
    }
    StandardOpenOption mode = IS_WINDOWS ? StandardOpenOption.WRITE : StandardOpenOption.READ;
    try (FileChannel channel = FileChannel.open(path, mode)) {
      channel.force(true);
    }
  }
}
