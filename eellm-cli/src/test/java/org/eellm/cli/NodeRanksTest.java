package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.eellm.distributed.launch.LocalLauncher;
import org.eellm.train.TinyRun;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@code --nproc} under a scheduler: two pods of a Kubernetes Job with two ranks each. */
@Timeout(300)
@EnabledOnOs(OS.LINUX) // It finds ranks in /proc.
final class NodeRanksTest {
  private static final int PODS = 2;

  @TempDir private Path folder;

  private final List<Process> pods = new ArrayList<>();
  private int port;

  @BeforeEach
  void findPort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0)) {
      port = socket.getLocalPort();
    }
  }

  @AfterEach
  void kill() {
    for (Process pod : pods) {
      pod.descendants().forEach(ProcessHandle::destroyForcibly);
      pod.destroyForcibly();
    }
  }

  private void start(Map<String, String> variables, String... arguments) throws IOException {
    List<String> command = LocalLauncher.sameProgram(Main.class.getName(), List.of(arguments), 1);
    command.add(1, "-XX:TieredStopAtLevel=1"); // Ranks inherit it, and are ready sooner.
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .redirectOutput(folder.resolve("stdout" + pods.size()).toFile())
            .redirectError(folder.resolve("stderr" + pods.size()).toFile());
    builder.environment().putAll(variables);
    pods.add(builder.start());
  }

  /** Starts all pods as a Job's manifest does. */
  private void startPods(String... arguments) throws IOException {
    for (int pod = 0; pod < PODS; pod++) {
      start(
          Map.of(
              "JOB_COMPLETION_INDEX", Integer.toString(pod),
              "EELLM_WORLD_SIZE", Integer.toString(PODS),
              "EELLM_MASTER_ADDR", LocalLauncher.LOOPBACK,
              "EELLM_MASTER_PORT", Integer.toString(port)),
          arguments);
    }
  }

  private String out(int pod) throws IOException {
    return Files.readString(folder.resolve("stdout" + pod));
  }

  private String err(int pod) throws IOException {
    return Files.readString(folder.resolve("stderr" + pod));
  }

  @Test
  void ranks_twoPodsOfTwo_areOneWorldOfFour() throws Exception {
    startPods("ranks", "--nproc", "2", "--tp", "2", "--pp", "2", "--json", "--timeout", "120");

    assertThat(pods.get(0).waitFor()).as(err(0)).isZero();
    assertThat(pods.get(1).waitFor()).as(err(1)).isZero();
    JsonNode report = new ObjectMapper().readTree(out(0));
    assertThat(report.get("mesh").asText()).isEqualTo("tp 2 x dp 1 x pp 2");
    for (int rank = 0; rank < 4; rank++) {
      assertThat(report.get("ranks").get(rank).asText())
          .startsWith("rank %d (tp %d, dp 0, pp %d)".formatted(rank, rank % 2, rank / 2));
    }
    assertThat(report.get("ranks")).hasSize(4);
    assertThat(out(1)).isEmpty();
  }

  @Test
  void train_aRankIsKilled_endsBothPodsWithItsName() throws Exception {
    startPods(
        "train",
        "--config",
        TinyRun.configFile(folder).toString(),
        "--output",
        folder.resolve("run").toString(),
        "--set=parallel.pp=2",
        "--set=parallel.dp=2",
        "--set=train.global_batch_size=32",
        "--set=train.steps=40000",
        "--nproc=2");
    Path steps = folder.resolve("run/metrics.jsonl");
    while (!(Files.exists(steps) && Files.readString(steps).contains("{\"step\":3,"))) {
      assertThat(pods).as(err(0) + err(1)).allMatch(Process::isAlive);
      TimeUnit.MILLISECONDS.sleep(20);
    }
    RankProcesses.rank(pods.get(1), 3).destroyForcibly();

    assertThat(pods.get(1).waitFor()).as(err(1)).isEqualTo(137);
    assertThat(pods.get(0).waitFor()).as(err(0)).isEqualTo(1);
    assertThat(err(1))
        .contains("eellm: rank 3 was ended by SIGKILL; all ranks of this node have ended");
    assertThat(err(0))
        .containsPattern(
            "eellm: rank [01] ended with exit code 1 \\(.*rank [23] \\(tp 0, dp [01], pp 1\\)"
                + " .*\\); all ranks of this node have ended");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "RANK=3 WORLD_SIZE=4 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=1|--nproc:"
            + " torchrun has started 2 processes on this machine, a rank each; leave --nproc away,"
            + " or have it start one process a machine",
        "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_RANK=1"
            + " OMPI_COMM_WORLD_LOCAL_SIZE=4|--nproc: mpirun has started 4 processes on this"
            + " machine, a rank each; leave --nproc away, or have it start one process a machine",
        "RANK=0 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=1 TORCHELASTIC_USE_AGENT_STORE=True|--nproc:"
            + " torchrun starts the ranks of each node by itself; give it --nproc-per-node 2"
            + " instead",
        "JOB_COMPLETION_INDEX=0 EELLM_WORLD_SIZE=2 EELLM_MASTER_ADDR=a|the mesh tp 3 x dp 1 x pp 1"
            + " has 3 ranks, but 4 are started; start 3, or any multiple of tp x pp = 3 with"
            + " another dp",
      })
  void ranks_processesThatCannotStartRanks_areRefused(String variables, String message)
      throws Exception {
    Map<String, String> environment = new HashMap<>();
    for (String variable : variables.split(" ")) {
      environment.put(variable.split("=")[0], variable.split("=")[1]);
    }
    start(environment, "ranks", "--nproc", "2", "--tp", "3");

    assertThat(pods.getFirst().waitFor()).isEqualTo(2);
    assertThat(err(0).lines()).contains("eellm: " + message);
  }
}
