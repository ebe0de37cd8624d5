package org.eellm.distributed.launch;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The launcher with two real processes of {@link LaunchedMain}. */
@Timeout(60)
final class LocalLauncherTest {
  private static final int RANKS = 2;

  @TempDir private Path folder;

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();
  private final LocalLauncher launcher =
      LocalLauncher.ofAttempts(
          _ -> RANKS, RankInfo.ALONE, new PrintWriter(out), new PrintWriter(err));

  private int run(String what, int maxRestarts) {
    return launcher.run(
        attempt ->
            LocalLauncher.sameProgram(
                LaunchedMain.class.getName(),
                List.of(what, folder.toString(), "attempt-" + attempt),
                RANKS),
        maxRestarts);
  }

  @Test
  void run_allRanksReturn0_passesRank0sResultAndNamesTheOtherLines() {
    assertThat(run("talk", 0)).isZero();
    assertThat(out.toString().lines()).containsExactly("result of 0 of 2");
    assertThat(err.toString().lines().filter(line -> !line.contains("] WARNING: "))) // Java's.
        .containsExactlyInAnyOrder(
            "[rank 0] note of 0", "[rank 1] note of 1", "[rank 1] result of 1 of 2");
  }

  @Test
  void run_sharesTheProcessorsAndKeepsBuffers() {
    int share = Math.max(1, Runtime.getRuntime().availableProcessors() / RANKS);
    String threads = System.getenv().getOrDefault("OMP_NUM_THREADS", Integer.toString(share));

    assertThat(run("threads", 0)).isZero();
    assertThat(out.toString().strip()).isEqualTo(threads + " " + share + " 1");
  }

  @Test
  void run_aRankFails_endsTheOthersWithItsExitCodeAndError() {
    assertThat(run("fail", 0)).isEqualTo(3);
    assertThat(err.toString())
        .contains(
            "[rank 1] eellm: out of luck",
            "eellm: rank 1 ended with exit code 3 (out of luck); all ranks have ended");
  }

  @Test
  void run_aRankIsKilled_saysBySignal() {
    assertThat(run("killed", 0)).isEqualTo(137);
    assertThat(err.toString()).contains("eellm: rank 1 was ended by SIGKILL");
  }

  @Test
  void run_withRestarts_startsAllAgainWithTheNextArguments() {
    assertThat(run("once", 2)).isZero();
    assertThat(out.toString()).containsPattern("done attempt-[12]\n");
    assertThat(err.toString()).contains("starting all ranks again (1 of 2)");
  }

  @Test
  void run_wrongUse_isNotRestarted() {
    assertThat(run("usage", 5)).isEqualTo(2);
    assertThat(err.toString()).doesNotContain("again");
  }

  @Test
  void stop_letsTheRanksSaveAndReturns0() throws Exception {
    CompletableFuture<Integer> exitCode = CompletableFuture.supplyAsync(() -> run("save", 3));
    for (int rank = 0; rank < RANKS; rank++) {
      while (Files.notExists(folder.resolve("ready-" + rank))) {
        Thread.sleep(20);
      }
    }
    launcher.stop();

    assertThat(exitCode.get(30, TimeUnit.SECONDS)).isZero();
    assertThat(folder.resolve("saved-0")).exists();
    assertThat(folder.resolve("saved-1")).exists();
    assertThat(err.toString()).contains("[rank 0] saving 0", "[rank 1] saving 1");
  }
}
