package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.checkpoint.CheckpointStore;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.config.ConfigException;
import org.eellm.config.ConfigFile;
import org.eellm.config.RunConfig;
import org.eellm.data.DataException;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.tensor.DeviceThroughput;
import org.eellm.train.Trainer.Outcome;
import org.eellm.train.metrics.MetricsFile;
import org.eellm.train.metrics.MetricsSink;
import org.eellm.train.metrics.TrainEvent;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TrainerTest {
  private static final MetricsSink NOBODY = _ -> {};

  @TempDir Path folder;

  private Path run(String name) {
    return folder.resolve(name);
  }

  private static Outcome finish(Trainer started) {
    try (Trainer trainer = started) {
      return trainer.run(NOBODY, () -> false);
    }
  }

  /** Runs until so many steps are done, as if a signal came then. */
  private static Outcome stopAfter(long steps, Trainer started) {
    try (Trainer trainer = started) {
      return trainer.run(NOBODY, () -> trainer.step() >= steps);
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void run_toTheEnd_leavesCheckpointsMetricsAndPictures(boolean asynchronous) throws IOException {
    RunConfig config =
        TinyRun.config(folder, "checkpoint.interval=12", "checkpoint.asynchronous=" + asynchronous);
    Outcome outcome = finish(Trainer.start(config, run("run")));
    assertThat(outcome.step()).isEqualTo(30);
    assertThat(outcome.finished()).isTrue();
    assertThat(outcome.checkpoint()).isEqualTo(run("run").resolve("checkpoints/step_0000030"));
    assertThat(outcome.evaluation().map(TrainEvent.Evaluation::step)).isEqualTo(Optional.of(30L));
    try (Stream<Path> checkpoints = Files.list(run("run").resolve("checkpoints"))) {
      assertThat(checkpoints.map(path -> path.getFileName().toString()))
          .containsExactlyInAnyOrder("step_0000024", "step_0000030");
    }

    assertThat(ConfigFile.read(run("run").resolve("config.yaml"), List.of())).isEqualTo(config);
    try (Stream<Path> events = Files.list(run("run").resolve("tensorboard"))) {
      assertThat(events).hasSize(1);
    }
    List<JsonNode> lines = MetricsFile.read(run("run").resolve("metrics.jsonl"));
    assertThat(
            lines.stream().filter(line -> line.has("loss")).map(line -> line.get("step").asInt()))
        .hasSize(30)
        .isSorted();
    assertThat(
            lines.stream()
                .filter(line -> line.has("validation_loss_exit_1"))
                .map(line -> line.get("step").asInt()))
        .containsExactly(10, 20, 30);
    assertThat(lines.getLast().get("validation_loss_final").asDouble()).isLessThan(3.0);
    assertThat(lines.get(9).get("tokens").asLong()).isEqualTo(10 * 4 * 16);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "train.threads=1",
        "model.dtype=bfloat16 model.hidden_dropout=0.1 train.layer_dropout=0.3",
        "optimizer.algorithm=muon",
        "optimizer.algorithm=muon model.dtype=bfloat16",
        "exits.curriculum=linear exits.curriculum_steps=20 optimizer.schedule=cosine"
            + " train.spike_threshold=1 train.rampup.start=2 train.rampup.increment=2"
            + " train.rampup.samples=30",
      })
  void resume_stoppedRun_isThatOfAnUndisturbedOne(String overrides) {
    RunConfig config = TinyRun.config(folder, overrides.split(" "));
    finish(Trainer.start(config, run("undisturbed")));
    Outcome stopped = stopAfter(17, Trainer.start(config, run("stopped")));
    assertThat(stopped.finished()).isFalse();
    assertThat(stopped.checkpoint()).endsWith(Path.of("step_0000017"));
    finish(Trainer.resume(config, run("stopped")));
    assertThat(TimelessMetrics.of(run("stopped")))
        .isEqualTo(TimelessMetrics.of(run("undisturbed")));
    for (String file : List.of("model.safetensors", "training/optimizer.safetensors")) {
      assertThat(run("stopped").resolve("checkpoints/step_0000030").resolve(file))
          .hasSameBinaryContentAs(
              run("undisturbed").resolve("checkpoints/step_0000030").resolve(file));
    }
  }

  @Test
  void resume_aBlendOfSources_goesOnFromItsKeptPosition() {
    Path data = folder.resolve("data");
    RunConfig config =
        TinyRun.config(
            folder,
            "data.sources=[{path: %s, weight: 3}, {path: %s, weight: 1}]".formatted(data, data));
    finish(Trainer.start(config, run("undisturbed")));
    Outcome stopped = stopAfter(17, Trainer.start(config, run("stopped")));
    assertThat(stopped.checkpoint().resolve("training/blend.json"))
        .content()
        .contains("\"sample\" : 68", "\"taken\" : [ 51, 17 ]");
    finish(Trainer.resume(config, run("stopped")));
    assertThat(TimelessMetrics.of(run("stopped")))
        .isEqualTo(TimelessMetrics.of(run("undisturbed")));
  }

  @Test
  void describe_scheduleBeyondTheLastStep_namesBothSettings() {
    RunConfig config =
        TinyRun.config(
            folder,
            "train.steps=30",
            "optimizer.schedule=cosine",
            "optimizer.decay_steps=1000",
            "exits.curriculum=linear",
            "exits.curriculum_steps=31",
            "exits.distillation=1",
            "exits.distillation_start=20",
            "exits.distillation_steps=11");
    try (Trainer trainer = Trainer.start(config, run("part"))) {
      assertThat(trainer.describe())
          .contains(
              "optimizer.decay_steps 1,000 is beyond train.steps 30: only a run with more steps"
                  + " gets there",
              "exits.curriculum_steps 31 is beyond train.steps 30: only a run with more steps gets"
                  + " there",
              "exits.distillation_start + exits.distillation_steps 31 is beyond train.steps 30:"
                  + " only a run with more steps gets there");
    }
    try (Trainer trainer = Trainer.start(TinyRun.config(folder), run("whole"))) {
      assertThat(trainer.describe()).noneMatch(line -> line.contains("beyond"));
    }
  }

  @Test
  void describe_bfloat16WhereItIsSlow_namesTheFormatThatIsFaster() {
    Device cpu = new Device("cpu");
    double ratio =
        DeviceThroughput.gemm(ScalarType.BFloat16, cpu, 0.2)
            / DeviceThroughput.gemm(ScalarType.Float, cpu, 0.2);
    assumeTrue(ratio < 0.7 || ratio > 1.4, "skipped: both formats are as fast");

    try (Trainer trainer =
        Trainer.start(TinyRun.config(folder, "model.dtype=bfloat16"), run("format"))) {
      assertThat(trainer.describe().stream().anyMatch(line -> line.contains("model.dtype=float32")))
          .isEqualTo(ratio < 1);
    }
  }

  @Test
  void resume_withMoreSteps_goesOn() {
    finish(Trainer.start(TinyRun.config(folder), run("short")));
    Outcome longer = finish(Trainer.resume(TinyRun.config(folder, "train.steps=40"), run("short")));
    finish(Trainer.start(TinyRun.config(folder, "train.steps=40"), run("long")));
    assertThat(longer.step()).isEqualTo(40);
    assertThat(TimelessMetrics.of(run("short"))).isEqualTo(TimelessMetrics.of(run("long")));
  }

  @Test
  void resume_finishedRun_isDoneAtOnce() {
    RunConfig config = TinyRun.config(folder);
    finish(Trainer.start(config, run("run")));
    List<ObjectNode> before = TimelessMetrics.of(run("run"));
    Outcome again = finish(Trainer.resume(config, run("run")));
    assertThat(again.finished()).isTrue();
    assertThat(TimelessMetrics.of(run("run"))).isEqualTo(before);
  }

  @Test
  void resume_beforeTheFirstCheckpoint_startsOver() {
    RunConfig config = TinyRun.config(folder);
    RunFolder.create(run("run"), config).close();
    assertThat(finish(Trainer.resume(config, run("run"))).step()).isEqualTo(30);
  }

  @Test
  void resume_checkpointDamaged_saysSo() throws IOException {
    RunConfig config = TinyRun.config(folder);
    Outcome stopped = stopAfter(3, Trainer.start(config, run("run")));
    Files.delete(stopped.checkpoint().resolve("training/optimizer.safetensors"));
    assertThatThrownBy(() -> Trainer.resume(config, run("run")))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("optimizer.safetensors");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "data.sources=[] | data.sources: is empty",
        "model.vocab_size=0 | model.vocab_size: 0 takes the tokenizer's size",
        "data.split=[1, 0, 0] | data.split: [1.0, 0.0, 0.0] leaves nothing to evaluate on",
      })
  void start_settingThatCannotBeHonoured_isRefusedAndLeavesNothing(
      String override, String message) {
    RunConfig config = TinyRun.config(folder, override);
    assertThatThrownBy(() -> Trainer.start(config, run("run")))
        .isInstanceOf(ConfigException.class)
        .hasMessageStartingWith(message);
    assertThat(run("run")).doesNotExist();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "data.sources=[absent] | absent.idx: no such file",
        "data.tokenizer=absent | absent",
        "model.vocab_size=16 | outside the model's vocabulary of 16",
      })
  void start_dataThatCannotBeUsed_saysSoAndLeavesNothing(String override, String message) {
    RunConfig config = TinyRun.config(folder, override);
    assertThatThrownBy(() -> Trainer.start(config, run("run")))
        .isInstanceOf(DataException.class)
        .hasMessageContaining(message);
    assertThat(run("run")).doesNotExist();
  }

  @Test
  void start_microBatchBeyondTheMachine_isRefusedAndLeavesNothing() {
    RunConfig config =
        TinyRun.config(
            folder, "train.micro_batch_size=100000000", "train.global_batch_size=100000000");
    assertThatThrownBy(() -> Trainer.start(config, run("run")))
        .isInstanceOf(ConfigException.class)
        .hasMessageMatching(
            "train.micro_batch_size: 100000000 needs .* of memory in all, and the machine has .*;"
                + " use \\d+");
    assertThat(run("run")).doesNotExist();
  }

  @Test
  void resume_otherDatasetOfEqualSize_isRefused() throws IOException {
    RunConfig config = TinyRun.config(folder);
    stopAfter(3, Trainer.start(config, run("run")));
    Path tokens = folder.resolve("data.bin");
    byte[] bytes = Files.readAllBytes(tokens);
    bytes[100] ^= 1;
    Files.write(tokens, bytes);
    assertThatThrownBy(() -> Trainer.resume(config, run("run")))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("data.bin: is not as it was written (16400 bytes with checksum ");
    Files.delete(folder.resolve("data.checksums"));
    assertThatThrownBy(() -> Trainer.resume(config, run("run")))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("is not the dataset that")
        .hasMessageContaining("step_0000003 was trained on (checksums ");
  }

  @Test
  void resume_fewerStepsThanAreDone_isRefused() {
    stopAfter(9, Trainer.start(TinyRun.config(folder), run("run")));
    RunConfig shorter = TinyRun.config(folder, "train.steps=8");
    assertThatThrownBy(() -> Trainer.resume(shorter, run("run")))
        .isInstanceOf(ConfigException.class)
        .hasMessageStartingWith("train.steps: 8 is below the 9 that are done");
  }

  @Test
  void resume_lowerLearningRate_goesOnWithIt() {
    stopAfter(9, Trainer.start(TinyRun.config(folder), run("run")));
    RunConfig slower = TinyRun.config(folder, "optimizer.learning_rate=1e-3");
    finish(Trainer.resume(slower, run("run")));
    List<JsonNode> lines =
        MetricsFile.read(run("run").resolve("metrics.jsonl")).stream()
            .filter(line -> line.has("learning_rate"))
            .toList();
    assertThat(lines.get(8).get("learning_rate").asDouble()).isEqualTo(1e-2);
    assertThat(lines.get(9).get("learning_rate").asDouble()).isEqualTo(1e-3);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "training/optimizer.safetensors | the optimizer's exp_avg have values that are not finite",
        "model.safetensors | the weights have values that are not finite",
      })
  void resume_notANumber_isRefused(String file, String message) throws IOException {
    RunConfig config = TinyRun.config(folder);
    Path checkpoint = stopAfter(3, Trainer.start(config, run("run"))).checkpoint();
    Files.delete(checkpoint.resolve("checksums.txt"));
    try (RandomAccessFile bytes = new RandomAccessFile(checkpoint.resolve(file).toFile(), "rw")) {
      byte[] header = new byte[8];
      bytes.readFully(header);
      bytes.seek(8 + ByteBuffer.wrap(header).order(ByteOrder.LITTLE_ENDIAN).getLong());
      bytes.write(new byte[] {0, 0, (byte) 0xc0, 0x7f});
    }
    assertThatThrownBy(() -> Trainer.resume(config, run("run")))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(message);
  }

  @Test
  void resume_negativeStep_isRefusedAndMetricsStay() throws IOException {
    RunConfig config = TinyRun.config(folder);
    Path checkpoint = stopAfter(3, Trainer.start(config, run("run"))).checkpoint();
    Files.delete(checkpoint.resolve("checksums.txt"));
    Path state = checkpoint.resolve("training/state.json");
    Files.writeString(state, Files.readString(state).replace("\"step\" : 3", "\"step\" : -1"));
    List<ObjectNode> before = TimelessMetrics.of(run("run"));
    assertThatThrownBy(() -> Trainer.resume(config, run("run")))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("training/state.json has step -1");
    assertThat(TimelessMetrics.of(run("run"))).isEqualTo(before).hasSize(3);
  }

  @Test
  void resume_stateOfAnotherStepThanItsFolder_isRefusedAndNamesBoth() throws IOException {
    RunConfig config = TinyRun.config(folder);
    Path checkpoint = stopAfter(3, Trainer.start(config, run("run"))).checkpoint();
    Files.move(checkpoint, checkpoint.resolveSibling("step_0000025"));
    assertThatThrownBy(() -> Trainer.resume(config, run("run")))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(
            "step_0000025: training/state.json has step 3, and the folder's name step 25;");
  }

  @Test
  void resume_stateWithoutSamples_takesThemFromTheStep() throws IOException {
    RunConfig config = TinyRun.config(folder);
    finish(Trainer.start(config, run("control")));
    Path checkpoint = stopAfter(3, Trainer.start(config, run("run"))).checkpoint();
    Files.delete(checkpoint.resolve("checksums.txt"));
    Path state = checkpoint.resolve("training/state.json");
    String counted = Files.readString(state);
    assertThat(counted).contains("\"samples\" : 12,");
    Files.writeString(state, counted.replace("\"samples\" : 12,", ""));
    finish(Trainer.resume(config, run("run")));
    assertThat(TimelessMetrics.of(run("run"))).isEqualTo(TimelessMetrics.of(run("control")));
  }

  @Test
  void run_minutesArePast_savesBetweenSteps() {
    RunConfig config =
        TinyRun.config(folder, "checkpoint.minutes=1e-9", "checkpoint.keep=0", "train.steps=6");
    finish(Trainer.start(config, run("run")));
    assertThat(CheckpointStore.open(run("run"), 0).list())
        .extracting(CheckpointStore.Checkpoint::step)
        .containsExactly(1L, 2L, 3L, 4L, 5L, 6L);
  }

  @Test
  void run_withinTheMinutes_savesAtTheEndAlone() {
    finish(Trainer.start(TinyRun.config(folder, "checkpoint.keep=0"), run("run")));
    assertThat(CheckpointStore.open(run("run"), 0).list())
        .extracting(CheckpointStore.Checkpoint::step)
        .containsExactly(30L);
  }

  @Test
  void run_onRanks_allSaveWhenTheFirstSaysSo() {
    RunConfig config =
        TinyRun.config(
            folder,
            "parallel.dp=2",
            "checkpoint.minutes=1e-9",
            "checkpoint.keep=0",
            "train.steps=6");
    InProcessRanks.run(
        new Mesh(1, 2, 1),
        world -> {
          try (Trainer trainer = Trainer.start(config, run("run"), world, false)) {
            return trainer.run(NOBODY, () -> false).step();
          }
        });
    assertThat(CheckpointStore.open(run("run"), 0).list()).hasSize(6);
  }

  @Test
  void run_everyStepNotFinite_failsAndSavesNothing() {
    RunConfig config =
        TinyRun.config(folder, "model.init_std=1e30", "optimizer.warmup_steps=0", "train.steps=4");
    assertThatThrownBy(() -> finish(Trainer.start(config, run("run"))))
        .isInstanceOf(TrainException.class)
        .hasMessageContaining("of all steps taken none was finite");
    assertThat(run("run").resolve("checkpoints")).doesNotExist();
  }

  @Test
  void run_bubblesFilled_countsTheFillsTokens() {
    RunConfig config =
        TinyRun.config(
            folder,
            "parallel={pp: 2, fill_warmup: 1, fill_cooldown: 1}",
            "train.eval_interval=0",
            "train.steps=6");
    InProcessRanks.run(
        new Mesh(1, 1, 2),
        world -> {
          try (Trainer trainer = Trainer.start(config, run("run"), world, false)) {
            return trainer.run(NOBODY, () -> false).step();
          }
        });
    List<ObjectNode> lines = TimelessMetrics.of(run("run"));
    for (int step = 1; step <= 6; step++) {
      JsonNode line = lines.get(step - 1);
      assertThat(line.get("batch_size").asInt()).isEqualTo(4);
      assertThat(line.get("tokens").asLong()).isEqualTo(step * (4 + 2 + 2) * 16);
    }
  }

  @Test
  void run_evaluationOff_needsNoValidationPart() {
    RunConfig config =
        TinyRun.config(
            folder, "train.eval_interval=0", "train.eval_batches=10", "data.split=[1, 0, 0]");
    assertThat(finish(Trainer.start(config, run("run"))).evaluation()).isEmpty();
  }

  @Test
  void run_tensorBoardOff_writesNoEvents() {
    RunConfig config = TinyRun.config(folder, "logging.tensorboard=false");
    finish(Trainer.start(config, run("run")));
    assertThat(run("run").resolve("tensorboard")).doesNotExist();
  }

  @Test
  void run_lossThatExplodes_endsWithStepAndLoss() {
    RunConfig config =
        TinyRun.config(folder, "optimizer.learning_rate=1e20", "train.max_bad_steps=2");
    assertThatThrownBy(() -> finish(Trainer.start(config, run("run"))))
        .isInstanceOf(TrainException.class)
        .hasMessageContaining("2 steps in a row were not finite");
  }
}
