package org.eellm.cli.generate;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.Writer;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.eellm.cli.Main;
import org.eellm.cli.RankProcesses;
import org.eellm.cli.SmallModelFolder;
import org.eellm.decode.SmallModel;
import org.eellm.distributed.launch.LocalLauncher;
import org.eellm.kernel.row.RowKernel;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** {@code eellm chat} with a model that processes share. */
@Tag("slow")
@Timeout(300)
@EnabledOnOs(OS.LINUX) // It finds ranks in /proc.
final class ChatRanksTest {
  private static final String TALK = "the cat\n/new\nthe dog\n";

  @TempDir private Path folder;

  private final List<Process> started = new ArrayList<>();

  @BeforeEach
  void writeModel() throws IOException {
    try (Decoder decoder = SmallModel.plain()) {
      SmallModelFolder.write(folder.resolve("model"), decoder);
    }
  }

  @AfterEach
  void kill() {
    for (Process process : started) {
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly();
    }
  }

  /** Starts the command, whose output goes to files of this name. */
  private Process start(String name, Map<String, String> environment, String... options)
      throws IOException {
    List<String> arguments =
        new ArrayList<>(List.of("chat", "--model", folder.resolve("model").toString()));
    arguments.addAll(List.of("--max-tokens", "12", "--temperature", "0", "--threads", "1"));
    arguments.addAll(List.of(options));
    List<String> command = LocalLauncher.sameProgram(Main.class.getName(), arguments, 1);
    if (RowKernel.isMachineCode()) { // else the second compiler is needed
      command.add(1, "-XX:TieredStopAtLevel=1"); // Ranks inherit it, and are ready sooner.
    }
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .redirectOutput(folder.resolve(name + ".out").toFile())
            .redirectError(folder.resolve(name + ".err").toFile());
    builder.environment().putAll(environment);
    Process process = builder.start();
    started.add(process);
    return process;
  }

  private static void say(Process process, String lines) throws IOException {
    Writer input = process.outputWriter();
    input.write(lines);
    input.flush();
  }

  private String out(String name) throws IOException {
    return Files.readString(folder.resolve(name + ".out"));
  }

  private String err(String name) throws IOException {
    return Files.readString(folder.resolve(name + ".err"));
  }

  @Test
  void chat_onFourRanks_saysWhatOneRankSays() throws Exception {
    Process alone = start("alone", Map.of());
    say(alone, TALK);
    alone.outputWriter().close();
    assertThat(alone.waitFor()).as(err("alone")).isZero();
    Process ranks = start("ranks", Map.of(), "--tp", "2", "--pp", "2", "--nproc", "4");
    say(ranks, TALK);
    ranks.outputWriter().close();

    assertThat(ranks.waitFor()).as(err("ranks")).isZero();
    assertThat(out("ranks")).isEqualTo(out("alone")).isNotBlank();
    assertThat(err("ranks")).contains("> ").doesNotContain("eellm: ");
  }

  @Test
  void chat_interruptedAmidTheDialogue_goesOnWhereItsFirstRankDoes() throws Exception {
    Process launcher = start("ranks", Map.of(), "--pp", "2", "--nproc", "2");
    awaitAnswer("ranks", launcher);
    // Ctrl-C at a terminal reaches all; the first rank's answer is done, and it is left out here.
    RankProcesses.signal(launcher.toHandle(), "INT");
    RankProcesses.signal(RankProcesses.rank(launcher, 1), "INT");
    say(launcher, "the dog\n/exit\n");

    assertThat(launcher.waitFor()).as(err("ranks")).isZero();
    assertThat(err("ranks").split("left at", -1)).hasSize(3);
  }

  @Test
  void chat_aRankDiesUnderAScheduler_endsAndNamesItWhileTheUserIsSilent() throws Exception {
    int port;
    try (ServerSocket socket = new ServerSocket(0)) {
      port = socket.getLocalPort();
    }
    List<Process> ranks = new ArrayList<>();
    for (int rank = 0; rank < 2; rank++) {
      Map<String, String> place =
          Map.of(
              "JOB_COMPLETION_INDEX",
              "" + rank,
              "EELLM_WORLD_SIZE",
              "2",
              "EELLM_MASTER_ADDR",
              LocalLauncher.LOOPBACK,
              "EELLM_MASTER_PORT",
              "" + port);
      ranks.add(start("rank" + rank, place, "--tp", "2"));
    }
    awaitAnswer("rank0", ranks.getFirst());
    ranks.getLast().destroyForcibly();

    assertThat(ranks.getFirst().waitFor()).isEqualTo(1);
    assertThat(err("rank0")).contains("eellm: rank 1 (tp 1, dp 0, pp 0)");
  }

  private void awaitAnswer(String name, Process process) throws Exception {
    say(process, "the cat\n");
    while (!err(name).contains("left at")) {
      assertThat(process.isAlive()).as(err(name)).isTrue();
      TimeUnit.MILLISECONDS.sleep(50);
    }
  }
}
