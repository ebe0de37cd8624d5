package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.eellm.distributed.launch.LocalLauncher;
import org.eellm.train.TimelessMetrics;
import org.eellm.train.TinyRun;
import org.eellm.train.metrics.MetricsFile;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@code eellm train --min-replicas}: runs that go on with fewer replicas. */
@Timeout(300)
@EnabledOnOs(OS.LINUX) // It finds ranks in /proc.
final class ElasticRanksTest {
  private static final double RELATIVE = 1e-5;
  private static final Pattern RESUMED = Pattern.compile("on after step (\\d+), to step 8");

  @TempDir private Path folder;

  private List<String> arguments(String run, String... options) {
    List<String> arguments =
        new ArrayList<>(List.of("train", "--config", TinyRun.configFile(folder).toString()));
    for (String setting :
        List.of(
            "train.global_batch_size=32",
            "train.steps=8",
            "checkpoint.interval=2",
            "checkpoint.keep=0")) {
      arguments.add("--set=" + setting);
    }
    arguments.addAll(List.of("--output", folder.resolve(run).toString()));
    arguments.addAll(List.of(options));
    return arguments;
  }

  private void train(String run, String... options) {
    StringWriter err = new StringWriter();
    int code =
        Commands.run(new StringWriter(), err, arguments(run, options).toArray(String[]::new));
    assertThat(code).as(err.toString()).isZero();
  }

  private List<JsonNode> metrics(String run) {
    return MetricsFile.read(folder.resolve(run).resolve("metrics.jsonl"));
  }

  private List<ObjectNode> timeless(String run) {
    return TimelessMetrics.of(folder.resolve(run));
  }

  @Tag("slow")
  @Test
  void train_aReplicaIsKilled_goesOnWithFewerFromTheNewestCheckpoint() throws Exception {
    List<String> options =
        arguments(
            "elastic", "--set=parallel.dp=2", "--nproc=2", "--max-restarts=1", "--min-replicas=1");
    List<String> command = LocalLauncher.sameProgram(Main.class.getName(), options, 1);
    command.add(1, "-XX:TieredStopAtLevel=1"); // Ranks inherit it, and are ready sooner.
    Path told = folder.resolve("stderr");
    Process launcher =
        new ProcessBuilder(command)
            .redirectOutput(folder.resolve("stdout").toFile())
            .redirectError(told.toFile())
            .start();
    try {
      Path steps = folder.resolve("elastic/metrics.jsonl");
      while (!(Files.exists(steps) && Files.readString(steps).contains("{\"step\":3,"))) {
        assertThat(launcher.isAlive()).as(Files.readString(told)).isTrue();
        TimeUnit.MILLISECONDS.sleep(5);
      }
      RankProcesses.rank(launcher, 1).destroyForcibly();

      assertThat(launcher.waitFor()).as(Files.readString(told)).isZero();
    } finally {
      launcher.descendants().forEach(ProcessHandle::destroyForcibly);
      launcher.destroyForcibly();
    }
    assertThat(Files.readString(told))
        .contains("eellm: rank 1 was ended by SIGKILL; starting 1 rank again (1 of 1)");
    assertLossesOfOneRank();
    assertStepsOfThisManyReplicasFromThere(Files.readString(told));
  }

  /** The results of a run do not depend on its mesh, but for rounding. */
  private void assertLossesOfOneRank() {
    train("alone");
    List<JsonNode> expected = metrics("alone");
    List<JsonNode> found = metrics("elastic");
    assertThat(found).hasSameSizeAs(expected);
    for (int line = 0; line < expected.size(); line++) {
      for (String key : List.of("loss", "loss_exit_1", "loss_final", "grad_norm")) {
        if (expected.get(line).has(key)) {
          double value = expected.get(line).get(key).asDouble();
          assertThat(found.get(line).get(key).asDouble())
              .as("%s in line %d", key, line)
              .isCloseTo(value, within(RELATIVE * value));
        }
      }
    }
  }

  /** Bit for bit. */
  private void assertStepsOfThisManyReplicasFromThere(String told) throws Exception {
    Matcher resumed = RESUMED.matcher(told);
    assertThat(resumed.find()).as(told).isTrue();
    int from = Integer.parseInt(resumed.group(1));
    run("cp", "-r", folder.resolve("elastic").toString(), folder.resolve("resumed").toString());
    try (Stream<Path> all = Files.list(folder.resolve("resumed/checkpoints"))) {
      for (Path checkpoint : all.toList()) {
        if (checkpoint.getFileName().toString().compareTo("step_%07d".formatted(from)) > 0) {
          run("rm", "-r", checkpoint.toString());
        }
      }
    }
    train("resumed", "--resume", "--set=parallel.dp=1");

    assertThat(timeless("resumed")).isEqualTo(timeless("elastic"));
  }

  private static void run(String... command) throws IOException, InterruptedException {
    assertThat(new ProcessBuilder(command).start().waitFor()).isZero();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--min-replicas=0|--min-replicas: 0 is outside 1..4 (parallel.dp)",
        "--min-replicas=5|--min-replicas: 5 is outside 1..4 (parallel.dp)",
        "--min-replicas=3|--min-replicas: 3: train.global_batch_size: 32 is not a multiple of 6"
            + " (train.micro_batch_size 2 x parallel.dp 3); use 30 or 36",
        "--min-replicas=2 --nproc=3|the mesh tp 1 x dp 4 x pp 1 has 4 ranks, but 3 are started;"
            + " make dp 3, or start 4",
      })
  void train_replicasThatCannotBe_areRefusedBeforeAnythingStarts(String options, String message) {
    StringWriter err = new StringWriter();
    List<String> all = arguments("wrong", options.split(" "));
    all.add("--set=parallel.dp=4");

    assertThat(Commands.run(new StringWriter(), err, all.toArray(String[]::new))).isEqualTo(2);
    assertThat(err.toString()).isEqualTo("eellm: " + message + "\n");
    assertThat(folder.resolve("wrong")).doesNotExist();
  }
}
