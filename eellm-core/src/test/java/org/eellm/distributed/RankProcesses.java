package org.eellm.distributed;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.eellm.distributed.launch.LocalLauncher;

/**
 * Ranks as processes that nobody looks after, for tests of what they say when one falls silent.
 * Each prints {@code ready} and, when it fails, why.
 */
public final class RankProcesses implements AutoCloseable {
  /** Until all others of a rank that is lost have ended, by themselves. */
  private static final Duration SOON = Duration.ofSeconds(15);

  private final List<Process> processes = new ArrayList<>();
  private final List<BufferedReader> outputs = new ArrayList<>();

  /** Starts the ranks, and waits until all are ready. */
  public static RankProcesses start(Class<?> main, int ranks, List<String> arguments)
      throws IOException {
    int port;
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      port = socket.getLocalPort();
    }
    RankProcesses all = new RankProcesses();
    try {
      all.startAll(main, ranks, arguments, port);
    } catch (IOException | RuntimeException | Error e) {
      all.close();
      throw e;
    }
    return all;
  }

  private void startAll(Class<?> main, int ranks, List<String> arguments, int port)
      throws IOException {
    List<String> command = LocalLauncher.sameProgram(main.getName(), arguments, ranks);
    command.add(1, "-XX:TieredStopAtLevel=1"); // ready sooner
    command.add(2, "-XX:-UsePerfData"); // no warning in the output where another holds its file
    for (int rank = 0; rank < ranks; rank++) {
      ProcessBuilder builder = new ProcessBuilder(command);
      builder
          .environment()
          .putAll(
              Map.of(
                  "RANK", Integer.toString(rank),
                  "WORLD_SIZE", Integer.toString(ranks),
                  "MASTER_ADDR", LocalLauncher.LOOPBACK,
                  "MASTER_PORT", Integer.toString(port),
                  "OMP_NUM_THREADS", "1"));
      builder.redirectInput(new File("/dev/null")).redirectError(ProcessBuilder.Redirect.DISCARD);
      processes.add(builder.start());
      outputs.add(processes.getLast().inputReader());
    }
    for (BufferedReader output : outputs) {
      assertThat(output.readLine()).isEqualTo("ready");
    }
  }

  /** Sends a signal, such as {@code KILL}. */
  public void signal(int rank, String signal) throws IOException, InterruptedException {
    String pid = Long.toString(processes.get(rank).pid());
    assertThat(new ProcessBuilder("kill", "-" + signal, pid).start().waitFor()).isZero();
  }

  /** What the ranks but {@code silent} say of it, by rank; all of them end soon. */
  public Map<Integer, String> verdicts(int silent) throws IOException, InterruptedException {
    long end = System.nanoTime() + SOON.toNanos();
    Map<Integer, String> verdicts = new TreeMap<>();
    for (int rank = 0; rank < processes.size(); rank++) {
      if (rank != silent) {
        assertThat(processes.get(rank).waitFor(end - System.nanoTime(), TimeUnit.NANOSECONDS))
            .as("rank %d has ended", rank)
            .isTrue();
        verdicts.put(rank, outputs.get(rank).readLine());
      }
    }
    return verdicts;
  }

  @Override
  public void close() {
    processes.forEach(Process::destroyForcibly);
  }
}
