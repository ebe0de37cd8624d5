package org.eellm.cli.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.StringWriter;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.eellm.cli.Commands;
import org.eellm.cli.Main;
import org.eellm.train.TimelessMetrics;
import org.eellm.train.TinyRun;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * {@code eellm train} as its users run it: most of these tests start it as a process of its own.
 */
final class TrainCommandTest {
  private static final int SIGTERM_EXIT = 128 + 15;

  @TempDir Path folder;

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  /** Runs the command in this process. */
  private int train(String... args) {
    return Commands.run(out, err, arguments(args));
  }

  private String[] arguments(String... args) {
    return Stream.concat(
            Stream.of("train", "--config", TinyRun.configFile(folder).toString()), Stream.of(args))
        .toArray(String[]::new);
  }

  /** Starts the command as a process with this one's JVM options, its output in files. */
  private Process start(String... args) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
    command.add("-XX:TieredStopAtLevel=1"); // It is ready sooner.
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), Main.class.getName()));
    command.addAll(List.of(arguments(args)));
    return new ProcessBuilder(command)
        .redirectOutput(folder.resolve("stdout").toFile())
        .redirectError(folder.resolve("stderr").toFile())
        .start();
  }

  private static void await(Process process, Path file, String text)
      throws IOException, InterruptedException {
    while (process.isAlive() && !(Files.exists(file) && Files.readString(file).contains(text))) {
      TimeUnit.MILLISECONDS.sleep(5);
    }
    assertThat(process.isAlive()).as("still running").isTrue();
  }

  private List<ObjectNode> timeless(String run) {
    return TimelessMetrics.of(folder.resolve(run));
  }

  private String[] longRun(String name) {
    return new String[] {
      "--set",
      "train.steps=400",
      "--set",
      "checkpoint.interval=20",
      "--output",
      folder.resolve(name).toString()
    };
  }

  private static String[] with(String[] args, String... more) {
    return Stream.concat(Stream.of(args), Stream.of(more)).toArray(String[]::new);
  }

  /** Aimed by the step that the metrics show; {@code -Dkills=50} for more of them. */
  @Tag("slow")
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void train_killedAtRandomSteps_isTheUndisturbedRun(boolean asynchronous) throws Exception {
    int kills = Integer.getInteger("kills", 2);
    SplittableRandom random = new SplittableRandom(kills);
    String steps = "--set=train.steps=" + 20 * (kills + 1);
    String every = "--set=checkpoint.interval=" + 7;
    String mode = "--set=checkpoint.asynchronous=" + asynchronous;
    assertThat(train(steps, every, "--output", folder.resolve("undisturbed").toString())).isZero();
    String[] arguments = {steps, every, mode, "--output", folder.resolve("killed").toString()};
    long done = 0;
    for (int kill = 0; kill < kills; kill++) {
      long step = done + random.nextInt(1, 24);
      Process process = start(kill == 0 ? arguments : with(arguments, "--resume"));
      await(process, folder.resolve("killed/metrics.jsonl"), "{\"step\":" + step + ",");
      process.destroyForcibly().waitFor();
      done = lastCheckpoint("killed");
    }
    assertThat(train(with(arguments, "--resume"))).isZero();
    assertThat(timeless("killed")).isEqualTo(timeless("undisturbed"));
    for (String file : List.of("model.safetensors", "training/optimizer.safetensors")) {
      String checkpoint = "checkpoints/step_%07d/%s".formatted(20 * (kills + 1), file);
      assertThat(folder.resolve("killed").resolve(checkpoint))
          .hasSameBinaryContentAs(folder.resolve("undisturbed").resolve(checkpoint));
    }
  }

  /** The step of a run's newest checkpoint; 0 if it has none. */
  private long lastCheckpoint(String run) throws IOException {
    Path checkpoints = folder.resolve(run).resolve("checkpoints");
    if (!Files.exists(checkpoints)) {
      return 0;
    }
    try (Stream<Path> all = Files.list(checkpoints)) {
      return all.map(path -> path.getFileName().toString())
          .filter(name -> name.startsWith("step_"))
          .mapToLong(name -> Long.parseLong(name.substring(5)))
          .max()
          .orElse(0);
    }
  }

  @Test
  void train_folderOfARunThatGoesOn_isRefused() throws Exception {
    Process process = start(longRun("run"));
    try {
      await(process, folder.resolve("run/metrics.jsonl"), "{\"step\":1,");
      assertThat(train(with(longRun("run"), "--resume"))).isEqualTo(2);
      assertThat(err.toString())
          .contains("run: process " + process.pid() + " on ", " trains in it; wait for that");
      assertThat(process.isAlive()).isTrue();
    } finally {
      process.destroyForcibly().waitFor();
    }
    List<Long> steps = timeless("run").stream().map(line -> line.get("step").asLong()).toList();
    assertThat(steps).isSorted();
    String last = "train.steps=" + Math.max(10, steps.getLast() + 1); // beyond the warm-up
    assertThat(train(with(longRun("run"), "--resume", "--set", last))).isZero();
  }

  @Test
  void train_sigterm_savesAndExitsWithZero() throws Exception {
    Process process = start(longRun("run"));
    await(process, folder.resolve("run/metrics.jsonl"), "{\"step\":30,");
    process.destroy();
    assertThat(process.waitFor()).isZero();
    long last = timeless("run").getLast().get("step").asLong();
    assertThat(folder.resolve("run/checkpoints/step_%07d".formatted(last))).isDirectory();
    assertThat(Files.readString(folder.resolve("stderr"), StandardCharsets.UTF_8))
        .contains("SIGTERM: saving after this step");
    assertThat(Files.readString(folder.resolve("stdout"), StandardCharsets.UTF_8))
        .startsWith("stopped after step " + last + " of 400; saved ");
  }

  @Test
  @Timeout(300)
  void train_secondSigterm_endsAtOnce() throws Exception {
    String endless = "train.global_batch_size=1000000";
    Process process = start("--set", endless, "--output", folder.resolve("run").toString());
    await(process, folder.resolve("stderr"), "from the first step");
    process.destroy();
    await(process, folder.resolve("stderr"), "a second signal ends at once");
    process.destroy();
    process.waitFor();
    assertThat(process.exitValue()).isEqualTo(SIGTERM_EXIT);
  }

  @Test
  void train_modelGiven_startsFromItsWeights() {
    String first = folder.resolve("first").toString();
    String[] still = {
      "--set=train.steps=1",
      "--set=optimizer.warmup_steps=0",
      "--set=optimizer.learning_rate=1e-12",
      "--set=train.seed=9"
    };
    assertThat(train("--output", first)).as(err::toString).isZero();
    assertThat(train(with(still, "--output", folder.resolve("random").toString())))
        .as(err::toString)
        .isZero();
    assertThat(
            train(
                with(still, "--model", first, "--output", folder.resolve("continued").toString())))
        .as(err::toString)
        .isZero();
    assertThat(validation("continued")).isCloseTo(validation("first"), within(1e-5));
    assertThat(validation("random")).isGreaterThan(validation("first") + 0.01);
    assertThat(timeless("continued").getFirst().get("step").asLong()).isEqualTo(1);
  }

  @Test
  void train_modelOfAnotherShape_isWrongUse() {
    String first = folder.resolve("first").toString();
    assertThat(train("--output", first)).as(err::toString).isZero();
    assertThat(
            train(
                "--model",
                first,
                "--set",
                "model.num_layers=7",
                "--output",
                folder.resolve("wider").toString()))
        .isEqualTo(2);
    assertThat(err.toString()).contains("model.num_layers: 7 is not the model's");
    assertThat(folder.resolve("wider")).doesNotExist();
  }

  /** The final head's last validation loss. */
  private double validation(String run) {
    return timeless(run).stream()
        .filter(line -> line.has("validation_loss_final"))
        .toList()
        .getLast()
        .get("validation_loss_final")
        .asDouble();
  }

  @Test
  void train_json_printsOneObject() throws Exception {
    assertThat(train("--output", folder.resolve("run").toString(), "--json")).isZero();
    JsonNode report = new ObjectMapper().readTree(out.toString());
    assertThat(report.path("step").asInt()).isEqualTo(30);
    assertThat(report.path("finished").asBoolean()).isTrue();
    assertThat(report.path("checkpoint").asText()).endsWith("step_0000030");
    assertThat(report.at("/evaluation/validation_loss_exit_1").asDouble()).isPositive();
  }

  @Test
  void train_outputThatIsAFile_isWrongUse() throws Exception {
    Path file = Files.createFile(folder.resolve("thesis"));

    assertThat(train("--output", file.resolve("run").toString())).isEqualTo(2);

    assertThat(err.toString())
        .isEqualTo("eellm: --output %s/run: %s is a file; give another folder\n", file, file);
  }

  @Test
  void train_onNoRanks_isWrongUse() throws Exception {
    assertThat(train("--output", folder.resolve("run").toString(), "--nproc", "0")).isEqualTo(2);

    assertThat(err.toString()).startsWith("eellm: --nproc: 0 is below 1; use 1 or more");
  }

  @Test
  void train_outputNotEmpty_isWrongUse() throws Exception {
    Files.createFile(folder.resolve("thesis"));
    assertThat(train("--output", folder.toString())).isEqualTo(2);
    assertThat(err.toString().lines()).hasSize(1);
    assertThat(err.toString()).contains("is not empty");
  }

  @Test
  void train_datasetAbsent_failsInOneLine() {
    String run = folder.resolve("run").toString();
    assertThat(train("--set", "data.sources=[nowhere]", "--output", run)).isEqualTo(1);
    assertThat(err.toString()).startsWith("eellm: nowhere.idx: no such file");
    assertThat(err.toString().lines()).hasSize(1);
  }

  @Test
  void train_lossExplodes_failsInOneLine() {
    String run = folder.resolve("run").toString();
    assertThat(train("--set", "optimizer.learning_rate=1e20", "--output", run)).isEqualTo(1);
    assertThat(err.toString().lines().toList().getLast())
        .startsWith("eellm: step 11: ")
        .contains("10 steps in a row were not finite");
  }
}
