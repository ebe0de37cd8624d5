package org.eellm.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The processes of a launcher's ranks, which are found in /proc. */
public final class RankProcesses {
  private RankProcesses() {}

  /** The process of a rank. */
  public static ProcessHandle rank(Process launcher, int rank) {
    return launcher.children().filter(child -> isRank(child, rank)).findFirst().orElseThrow();
  }

  private static boolean isRank(ProcessHandle process, int rank) {
    try {
      String environment = Files.readString(Path.of("/proc/" + process.pid() + "/environ"));
      return ("\0" + environment).contains("\0RANK=" + rank + "\0");
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Sends a signal, by its name. */
  public static void signal(ProcessHandle process, String name)
      throws IOException, InterruptedException {
    int code = new ProcessBuilder("kill", "-" + name, "" + process.pid()).start().waitFor();
    if (code != 0) {
      throw new IOException("kill -%s %d: exit code %d".formatted(name, process.pid(), code));
    }
  }
}
