package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.eellm.checkpoint.CheckpointIntegrity;
import org.eellm.checkpoint.CheckpointStore;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.config.RunConfig;
import org.eellm.train.metrics.MetricsSink;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A run of 30 steps with checkpoints at 10, 20 and 30, some of which are damaged. */
final class DamagedCheckpointTest {
  private static final String WEIGHTS = "model.safetensors";
  private static final String OPTIMIZER = "training/optimizer.safetensors";

  @TempDir private static Path shared;
  private static RunConfig config;

  @TempDir private Path run;
  private Path newest;

  @BeforeAll
  static void train() {
    config = TinyRun.config(shared, "checkpoint.interval=10", "checkpoint.keep=0");
    try (Trainer trainer = Trainer.start(config, shared.resolve("run"))) {
      trainer.run(MetricsSink.none(), () -> false);
    }
  }

  @BeforeEach
  void copy() throws IOException {
    for (Path file : files(shared.resolve("run"))) {
      Path copy = run.resolve(shared.resolve("run").relativize(file));
      Files.createDirectories(copy.getParent());
      Files.copy(file, copy);
    }
    newest = checkpoint(30);
  }

  private Path checkpoint(int step) {
    return CheckpointStore.folder(run, step);
  }

  private static List<Path> files(Path checkpoint) throws IOException {
    try (Stream<Path> files = Files.walk(checkpoint)) {
      return files.filter(Files::isRegularFile).sorted().toList();
    }
  }

  /** Changes the bits of a byte, and gives what it was. */
  private static byte flip(Path file, long at, int bits) throws IOException {
    try (RandomAccessFile bytes = new RandomAccessFile(file.toFile(), "rw")) {
      bytes.seek(at);
      byte before = bytes.readByte();
      bytes.seek(at);
      bytes.writeByte(before ^ bits);
      return before;
    }
  }

  private static Optional<String> damage(Path checkpoint) {
    return CheckpointIntegrity.damage(checkpoint, 0, 1);
  }

  @Test
  void damage_wholeCheckpoint_isNone() throws IOException {
    assertThat(damage(newest)).isEmpty();
    assertThat(newest.resolve("checksums.txt")).content().hasLineCount(7);
    assertThat(files(newest)).hasSize(7);
  }

  @Test
  void damage_someFlippedBytes_areNamed() throws IOException {
    SplittableRandom random = new SplittableRandom(17);
    List<Path> files = files(newest);
    for (int i = 0; i < 140; i++) {
      Path file = files.get(i % files.size());
      long at = random.nextLong(Files.size(file));
      byte before = flip(file, at, random.nextInt(1, 256));
      byte after = Files.readAllBytes(file)[(int) at];
      assertThat(damage(newest))
          .as("byte %d of %s", at, file)
          .hasValueSatisfying(text -> assertThat(text).contains(file.toString()));
      flip(file, at, before ^ after);
    }
    assertThat(damage(newest)).isEmpty();
  }

  @Test
  void damage_sharedByRanks_isFoundByOne() throws IOException {
    flip(newest.resolve(WEIGHTS), 2000, 1);
    assertThat(
            Stream.of(0, 1, 2)
                .flatMap(rank -> CheckpointIntegrity.damage(newest, rank, 3).stream()))
        .singleElement()
        .asString()
        .contains(WEIGHTS + ": is not as it was written (checksum ");
  }

  /** The one that reads it again to go on from it, from memory then. */
  @Test
  void damage_ofFilesThatRanksWrote_isFoundByTheRankOfTheirNumber() throws IOException {
    int ranks = 5;
    for (int number = 1; number <= ranks; number++) {
      String name = "optimizer-%05d-of-%05d.safetensors".formatted(number, ranks);
      Files.copy(newest.resolve(OPTIMIZER), newest.resolve("training").resolve(name));
    }
    Files.delete(newest.resolve("checksums.txt"));
    CheckpointIntegrity.write(newest, Map.of());
    for (int number = 1; number <= ranks; number++) {
      Path file =
          newest.resolve("training/optimizer-%05d-of-%05d.safetensors".formatted(number, ranks));
      flip(file, 4000, 2);
      for (int rank = 0; rank < ranks; rank++) {
        assertThat(CheckpointIntegrity.damage(newest, rank, ranks).isPresent())
            .isEqualTo(rank == number - 1);
      }
      flip(file, 4000, 2);
    }
  }

  @Test
  void damage_fileCutShortOrAbsent_isNamed() throws IOException {
    Path weights = newest.resolve(WEIGHTS);
    Files.write(weights, new byte[100]);
    assertThat(damage(newest).orElseThrow())
        .contains(WEIGHTS + ": has 100 bytes and had ", " when it was written");
    Files.delete(weights);
    assertThat(damage(newest).orElseThrow())
        .contains(WEIGHTS + ": is missing, though checksums.txt names it");
  }

  @Test
  void resume_newestDamaged_goesOnFromTheOneBefore() throws IOException {
    byte[] before = Files.readAllBytes(newest.resolve(WEIGHTS));
    List<String> metrics = losses();
    flip(newest.resolve(OPTIMIZER), 5000, 4);
    flip(checkpoint(20).resolve(WEIGHTS), 5000, 4);
    try (Trainer trainer = Trainer.resume(config, run)) {
      assertThat(trainer.step()).isEqualTo(10);
      trainer.run(MetricsSink.none(), () -> false);
    }
    assertThat(losses()).isEqualTo(metrics);
    assertThat(newest.resolve(WEIGHTS)).hasBinaryContent(before);
    assertThat(newest.resolveSibling("damaged-step_0000030")).isDirectory();
    assertThat(newest.resolveSibling("damaged-step_0000020")).isDirectory();
  }

  private List<String> losses() throws IOException {
    try (Stream<String> lines = Files.lines(run.resolve("metrics.jsonl"))) {
      return lines.map(line -> line.replaceAll(",\"tokens_per_second.*|,\"waiting.*", "")).toList();
    }
  }

  @Test
  void resume_noneWhole_isRefusedAndNothingIsRenamed() throws IOException {
    for (int step : List.of(10, 20, 30)) {
      flip(checkpoint(step).resolve("training/state.json"), 15, 1);
    }
    assertThatThrownBy(() -> Trainer.resume(config, run))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("step_0000030/training/state.json: is not as it was written")
        .hasMessageContaining("of the run's checkpoints (3) none is whole");
    assertThat(newest).isDirectory();
  }

  @Test
  void resume_withoutChecksums_checksTheFormOfFiles() throws IOException {
    for (int step : List.of(10, 20, 30)) {
      Files.delete(checkpoint(step).resolve("checksums.txt"));
    }
    byte[] bytes = Files.readAllBytes(newest.resolve(OPTIMIZER));
    Files.write(newest.resolve(OPTIMIZER), Arrays.copyOf(bytes, bytes.length - 1));
    try (Trainer trainer = Trainer.resume(config, run)) {
      assertThat(trainer.step()).isEqualTo(20);
    }
  }

  @Test
  void resolveModel_damagedRun_isTheNewestWholeModel() throws IOException {
    flip(newest.resolve(WEIGHTS), 3000, 8);
    flip(checkpoint(20).resolve(OPTIMIZER), 3000, 8); // no part of the model
    assertThat(CheckpointStore.resolveModel(run)).isEqualTo(checkpoint(20));
    assertThatThrownBy(() -> CheckpointStore.resolveModel(newest))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(newest.resolve(WEIGHTS) + ": is not as it was written")
        .hasMessageContaining("remove checksums.txt to take the files as they are");
  }
}
