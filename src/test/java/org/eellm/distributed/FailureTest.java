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
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** Three processes, of which one falls silent in the middle of a sum. */
@Timeout(120)
@DisabledOnOs(OS.WINDOWS)
final class FailureTest {
  private static final int RANKS = 3;

  private final List<Process> processes = new ArrayList<>();
  private final List<BufferedReader> outputs = new ArrayList<>();

  private void start(Duration timeout) throws IOException {
    int port;
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      port = socket.getLocalPort();
    }
    List<String> arguments = List.of(Long.toString(timeout.toMillis()));
    for (int rank = 0; rank < RANKS; rank++) {
      ProcessBuilder builder =
          new ProcessBuilder(LocalLauncher.sameProgram(RankMain.class.getName(), arguments, RANKS));
      builder
          .environment()
          .putAll(
              Map.of(
                  "RANK", Integer.toString(rank),
                  "WORLD_SIZE", Integer.toString(RANKS),
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

  private void signal(int rank, String signal) throws IOException, InterruptedException {
    String pid = Long.toString(processes.get(rank).pid());
    assertThat(new ProcessBuilder("kill", "-" + signal, pid).start().waitFor()).isZero();
  }

  /** What the ranks but {@code silent} say of it. */
  private List<String> verdicts(int silent) throws IOException, InterruptedException {
    List<String> verdicts = new ArrayList<>();
    for (int rank = 0; rank < RANKS; rank++) {
      if (rank != silent) {
        verdicts.add(outputs.get(rank).readLine());
        assertThat(processes.get(rank).waitFor(30, TimeUnit.SECONDS)).isTrue();
      }
    }
    return verdicts;
  }

  @AfterEach
  void kill() {
    processes.forEach(Process::destroyForcibly);
  }

  @Test
  void await_aRankIsKilled_theOthersNameIt() throws Exception {
    start(Duration.ofSeconds(60));
    signal(1, "KILL");

    assertThat(verdicts(1))
        .allSatisfy(
            line ->
                assertThat(line)
                    .startsWith("rank 1 (tp 0, dp 0, pp 1) has not been heard of for")
                    .contains("(in all-reduce of 4.0 kB over all ranks)"));
  }

  @Test
  void await_theRankThatHoldsTheBoardIsKilled_theOthersNameIt() throws Exception {
    start(Duration.ofSeconds(60));
    signal(0, "KILL");

    assertThat(verdicts(0))
        .allSatisfy(line -> assertThat(line).startsWith("rank 0 (tp 0, dp 0, pp 0)"));
  }

  @Test
  void await_aRankIsStopped_theOthersNameItWithinTheTimeout() throws Exception {
    start(Duration.ofSeconds(15)); // Starting has to fit as well.
    signal(2, "STOP");

    assertThat(verdicts(2))
        .allSatisfy(
            line ->
                assertThat(line).startsWith("rank 2 (tp 0, dp 0, pp 2) has not been heard of for"));
  }
}
