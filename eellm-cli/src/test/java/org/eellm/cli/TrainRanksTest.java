package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.StringWriter;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.SavedModel;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigFile;
import org.eellm.config.RunConfig;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.launch.LocalLauncher;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.model.Decoder;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.train.TimelessMetrics;
import org.eellm.train.TinyRun;
import org.eellm.train.Trainer;
import org.eellm.train.metrics.MetricsFile;
import org.eellm.train.metrics.MetricsSink;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@code eellm train --nproc}: runs whose ranks are processes, and what happens to those. */
@Timeout(300)
@EnabledOnOs(OS.LINUX) // It finds ranks in /proc.
final class TrainRanksTest {
  private static final double RELATIVE = 1e-5;

  /** Many microbatches a step, so that whatever happens to a run happens in a step. */
  private static final List<String> PIPELINE =
      List.of("parallel.pp=2", "train.global_batch_size=32");

  @TempDir Path folder;

  private final List<Process> started = new ArrayList<>();

  private List<String> arguments(String run, List<String> settings, String... options) {
    List<String> arguments =
        new ArrayList<>(List.of("train", "--config", TinyRun.configFile(folder).toString()));
    settings.forEach(setting -> arguments.addAll(List.of("--set", setting)));
    arguments.addAll(List.of("--output", folder.resolve(run).toString()));
    arguments.addAll(List.of(options));
    return arguments;
  }

  /** Runs the command here; its ranks, if it has some, are processes. */
  private int code(StringWriter err, String run, List<String> settings, String... options) {
    return Commands.run(
        new StringWriter(), err, arguments(run, settings, options).toArray(String[]::new));
  }

  private void train(String run, List<String> settings, String... options) {
    StringWriter err = new StringWriter();
    assertThat(code(err, run, settings, options)).as(err.toString()).isZero();
  }

  /** Starts the launcher as a process, and waits until the run has taken three steps. */
  private Process start(String run, List<String> settings, String... options)
      throws IOException, InterruptedException {
    List<String> command =
        LocalLauncher.sameProgram(Main.class.getName(), arguments(run, settings, options), 1);
    command.add(1, "-XX:TieredStopAtLevel=1"); // Ranks inherit it, and are ready sooner.
    Process launcher =
        new ProcessBuilder(command)
            .redirectOutput(folder.resolve("stdout").toFile())
            .redirectError(folder.resolve("stderr").toFile())
            .start();
    started.add(launcher);
    awaitThirdStep(run, launcher);
    return launcher;
  }

  private void awaitThirdStep(String run, Process process)
      throws IOException, InterruptedException {
    Path metrics = folder.resolve(run).resolve("metrics.jsonl");
    while (!(Files.exists(metrics) && Files.readString(metrics).contains("{\"step\":3,"))) {
      assertThat(process.isAlive()).as(run).isTrue();
      TimeUnit.MILLISECONDS.sleep(5);
    }
  }

  private String errors() throws IOException {
    return Files.readString(folder.resolve("stderr"));
  }

  private List<ObjectNode> timeless(String run) {
    return TimelessMetrics.of(folder.resolve(run));
  }

  private List<JsonNode> metrics(String run) {
    return MetricsFile.read(folder.resolve(run).resolve("metrics.jsonl"));
  }

  private Path checkpoint(String run, long step) {
    return folder.resolve(run).resolve("checkpoints/step_%07d".formatted(step));
  }

  @AfterEach
  void kill() {
    for (Process launcher : started) {
      launcher.descendants().forEach(ProcessHandle::destroyForcibly);
      launcher.destroyForcibly();
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "3|parallel.tp=2|the mesh tp 2 x dp 1 x pp 1 has 2 ranks, but 3 are started; start 2, or"
            + " any multiple of tp x pp = 2 with another dp",
        "4|parallel.pp=2|the mesh tp 1 x dp 1 x pp 2 has 2 ranks, but 4 are started; make dp 2, or"
            + " start 2",
      })
  void train_withAnotherNumberOfRanksThanTheMesh_isRefusedBeforeAnythingStarts(
      String ranks, String mesh, String message) {
    StringWriter err = new StringWriter();

    assertThat(code(err, "wrong", List.of(mesh), "--nproc", ranks)).isEqualTo(2);
    assertThat(err.toString()).isEqualTo("eellm: " + message + "\n");
    assertThat(folder.resolve("wrong")).doesNotExist();
  }

  @Test
  void train_asTwoProcesses_takesTheStepsOfOneRank() {
    List<String> steps = List.of("train.steps=3", "optimizer.warmup_steps=1");
    train("alone", steps);
    List<String> settings =
        Stream.concat(steps.stream(), Stream.of("parallel.tp=2", "parallel.sequence_parallel=true"))
            .toList();
    train("ranks", settings, "--nproc", "2");

    List<JsonNode> expected = metrics("alone");
    List<JsonNode> found = metrics("ranks");
    assertThat(found).hasSameSizeAs(expected);
    for (int line = 0; line < expected.size(); line++) {
      for (String key : List.of("loss", "loss_exit_1", "loss_exit_2", "loss_final", "grad_norm")) {
        if (expected.get(line).has(key)) {
          double value = expected.get(line).get(key).asDouble();
          assertThat(found.get(line).get(key).asDouble())
              .as("%s in line %d", key, line)
              .isCloseTo(value, within(RELATIVE * value));
        }
      }
    }
    float[] weights = weights("alone");
    float[] others = weights("ranks");
    double squares = 0;
    double difference = 0;
    for (int i = 0; i < weights.length; i++) {
      squares += (double) weights[i] * weights[i];
      difference += Math.pow(weights[i] - others[i], 2);
    }
    assertThat(Math.sqrt(difference / squares)).isLessThan(RELATIVE);
  }

  private float[] weights(String run) {
    Architecture architecture =
        ConfigFile.read(TinyRun.configFile(folder), List.of()).architecture();
    try (Scope _ = Scope.open();
        Decoder model = SavedModel.readWeights(checkpoint(run, 3), architecture, Torch.cpu())) {
      return Tensors.toFloats(model.parameters().flat());
    }
  }

  @Tag("slow")
  @Test
  void train_aRankIsKilledInAStep_restartsAndEndsAsUndisturbed() throws Exception {
    List<String> settings =
        Stream.concat(PIPELINE.stream(), Stream.of("train.steps=8", "checkpoint.interval=2"))
            .toList();
    trainUndisturbed(settings);
    Process launcher = start("killed", settings, "--nproc", "2", "--max-restarts", "1");
    RankProcesses.rank(launcher, 1).destroyForcibly();

    assertThat(launcher.waitFor()).as(errors()).isZero();
    assertThat(errors())
        .contains("eellm: rank 1 was ended by SIGKILL; starting all ranks again (1 of 1)");
    assertThat(timeless("killed")).isEqualTo(timeless("undisturbed"));
  }

  private void trainUndisturbed(List<String> settings) {
    RunConfig config = ConfigFile.read(TinyRun.configFile(folder), settings);
    InProcessRanks.run(
        new Mesh(1, 1, 2),
        world -> {
          try (Trainer trainer =
              Trainer.start(config, folder.resolve("undisturbed"), world, false)) {
            return trainer.run(MetricsSink.none(), () -> false);
          }
        });
  }

  /** Two processes as a scheduler starts them, with its variables, on machines of their own. */
  @Tag("slow")
  @Test
  void train_aScheduledRankIsKilled_bothStartAgainFromTheNewestAsynchronousCheckpoint()
      throws Exception {
    List<String> settings =
        Stream.concat(
                PIPELINE.stream(),
                Stream.of("train.steps=8", "checkpoint.interval=2", "checkpoint.asynchronous=true"))
            .toList();
    trainUndisturbed(settings);
    int port = twoFreePorts();
    for (int rank = 0; rank < 2; rank++) {
      List<String> command =
          LocalLauncher.sameProgram(
              Main.class.getName(), arguments("scheduled", settings, "--max-restarts", "1"), 1);
      command.add(1, "-XX:TieredStopAtLevel=1");
      ProcessBuilder builder =
          new ProcessBuilder(command)
              .redirectOutput(folder.resolve("stdout" + rank).toFile())
              .redirectError(folder.resolve("stderr" + rank).toFile());
      builder
          .environment()
          .putAll(
              Map.of(
                  "JOB_COMPLETION_INDEX",
                  Integer.toString(rank),
                  "EELLM_WORLD_SIZE",
                  "2",
                  "EELLM_MASTER_ADDR",
                  LocalLauncher.LOOPBACK,
                  "EELLM_MASTER_PORT",
                  Integer.toString(port)));
      started.add(builder.start());
    }
    awaitThirdStep("scheduled", started.getFirst());
    started.get(1).children().findFirst().orElseThrow().destroyForcibly();

    for (int rank = 0; rank < 2; rank++) {
      String told = "stderr" + rank;
      int exitCode = started.get(rank).waitFor();
      assertThat(exitCode).as(Files.readString(folder.resolve(told))).isZero();
      assertThat(Files.readString(folder.resolve(told))).contains("; starting it again (1 of 1)");
    }
    assertThat(Files.readString(folder.resolve("stderr1")))
        .contains("eellm: rank 1 was ended by SIGKILL; starting it again");
    assertThat(timeless("scheduled")).isEqualTo(timeless("undisturbed"));
  }

  /** The first of two ports, one for each start, below those that systems give to any socket. */
  private static int twoFreePorts() {
    return IntStream.generate(() -> ThreadLocalRandom.current().nextInt(20_000, 32_000))
        .filter(port -> isFree(port) && isFree(port + 1))
        .findFirst()
        .getAsInt();
  }

  private static boolean isFree(int port) {
    try (ServerSocket _ = new ServerSocket(port)) {
      return true;
    } catch (IOException _) {
      return false;
    }
  }

  @Test
  void train_sigtermToTheLauncher_savesAndExitsWithZero() throws Exception {
    List<String> settings =
        Stream.concat(PIPELINE.stream(), Stream.of("train.steps=4000")).toList();
    Process launcher = start("stopped", settings, "--nproc", "2");
    launcher.toHandle().destroy();

    assertThat(launcher.waitFor()).as(errors()).isZero();
    long last = metrics("stopped").getLast().get("step").asLong();
    assertThat(checkpoint("stopped", last)).isDirectory();
    assertThat(Files.readString(folder.resolve("stdout")))
        .startsWith("stopped after step " + last + " of 4,000; saved ");
  }

  @Tag("slow")
  @Test
  void train_aRankHangs_theOthersNameIt() throws Exception {
    int timeout = 25; // Starting has to fit as well.
    List<String> settings =
        Stream.concat(
                PIPELINE.stream(),
                Stream.of("train.steps=4000", "parallel.timeout_seconds=" + timeout))
            .toList();
    Process launcher = start("hung", settings, "--nproc", "2");
    ProcessHandle hung = RankProcesses.rank(launcher, 1);
    assertThat(new ProcessBuilder("kill", "-STOP", Long.toString(hung.pid())).start().waitFor())
        .isZero();
    String told = "[rank 0] eellm: rank 1 (tp 0, dp 0, pp 1) has sent no heartbeat for";
    while (!errors().contains(told)) {
      TimeUnit.MILLISECONDS.sleep(20);
    }
    // What does not end when asked to is killed.
    assertThat(launcher.waitFor()).isEqualTo(1);
    assertThat(hung.isAlive()).isFalse();
  }
}
