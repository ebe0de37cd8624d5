package org.eellm.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assumptions.assumeThat;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.eellm.checkpoint.CheckpointStore.Checkpoint;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.SafetensorsWriter;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.eellm.file.FileChecksum;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CheckpointStoreTest {
  private static final SaveAction SMALL =
      folder -> {
        Files.writeString(folder.resolve("config.json"), "{}");
        Files.createDirectory(folder.resolve("training"));
        Files.writeString(folder.resolve("training/state.json"), "{}");
      };

  @TempDir Path run;

  @Test
  void save_newStep_isListedWithAllItsFiles() throws IOException {
    Checkpoint saved = save(CheckpointStore.open(run, 0), 100, SMALL);
    assertThat(saved)
        .isEqualTo(new Checkpoint(100, run.resolve("checkpoints").resolve("step_0000100")));
    assertThat(saved.folder().resolve("training/state.json")).hasContent("{}");
    assertThat(CheckpointStore.open(run, 0).latest()).contains(saved);
    assertThat(names()).containsExactly("step_0000100");
  }

  @Test
  void commit_fileOfAnotherRankThatIsNotHere_savesNothingAndNamesIt() throws IOException {
    CheckpointStore store = CheckpointStore.open(run, 0);
    CheckpointStore.PendingCheckpoint pending = store.begin(7);
    SMALL.writeInto(pending.folder());
    Map<String, FileChecksum> checksums =
        Map.of(
            "config.json",
            FileChecksum.of(pending.folder().resolve("config.json")),
            "training/optimizer-00002-of-00002.safetensors",
            new FileChecksum(8, "00000000"));
    assertThatThrownBy(() -> pending.commit(checksums))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(
            "training/optimizer-00002-of-00002.safetensors: a rank has written it")
        .hasMessageContaining("give all ranks one shared --output");
    assertThat(names()).isEmpty();
  }

  @Test
  void run_ofACheckpointAndOfOtherFolders_isTheRunOrTheFolderItself() {
    assertThat(CheckpointStore.run(CheckpointStore.folder(run, 430))).isEqualTo(run);
    assertThat(CheckpointStore.run(run)).isEqualTo(run);
    assertThat(CheckpointStore.run(run.resolve("step_0000430")))
        .isEqualTo(run.resolve("step_0000430"));
    assertThat(CheckpointStore.run(Path.of("/"))).isEqualTo(Path.of("/"));
  }

  @Test
  void save_moreThanKept_deletesTheOldest() throws IOException {
    CheckpointStore store = CheckpointStore.open(run, 2);
    for (long step : new long[] {9, 10, 9_999_999, 10_000_000}) {
      save(store, step, SMALL);
    }
    assertThat(store.list()).extracting(Checkpoint::step).containsExactly(9_999_999L, 10_000_000L);
    assertThat(names()).containsExactly("step_10000000", "step_9999999");
  }

  @Test
  void save_keepOne_leavesOnlyTheNewOne() throws IOException {
    CheckpointStore store = CheckpointStore.open(run, 1);
    save(store, 1, SMALL);
    save(store, 2, SMALL);
    assertThat(names()).containsExactly("step_0000002");
  }

  @Test
  void save_keepZero_keepsAll() {
    CheckpointStore store = CheckpointStore.open(run, 0);
    for (int step = 1; step <= 5; step++) {
      save(store, step, SMALL);
    }
    assertThat(store.list()).hasSize(5);
  }

  @Test
  void save_lowerStepThanTheOthers_isNotDeletedItself() throws IOException {
    save(CheckpointStore.open(run, 0), 5, SMALL);
    save(CheckpointStore.open(run, 1), 3, SMALL);
    assertThat(names()).containsExactly("step_0000003");
  }

  @Test
  void save_existingStep_isRefusedAndItStays() {
    CheckpointStore store = CheckpointStore.open(run, 0);
    save(store, 1, SMALL);
    assertThatThrownBy(
            () ->
                save(
                    store,
                    1,
                    folder -> Files.writeString(folder.resolve("config.json"), "another")))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("step_0000001: exists already");
    assertThat(run.resolve("checkpoints/step_0000001/config.json")).hasContent("{}");
  }

  @Test
  void save_actionFails_leavesTheCheckpointsBefore() throws IOException {
    CheckpointStore store = CheckpointStore.open(run, 1);
    save(store, 1, SMALL);
    assertThatThrownBy(
            () ->
                save(
                    store,
                    2,
                    folder -> {
                      SMALL.writeInto(folder);
                      throw new IOException("the disk said no");
                    }))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("step_0000002: not saved: the disk said no (")
        .hasMessageContaining("step_0000001 is whole");
    assertThatThrownBy(
            () ->
                save(
                    store,
                    2,
                    _ -> {
                      throw new IllegalStateException("a defect");
                    }))
        .isInstanceOf(IllegalStateException.class);
    assertThat(names()).containsExactly("step_0000001");
    save(store, 2, SMALL);
    assertThat(names()).containsExactly("step_0000002");
  }

  @Test
  void save_fullDevice_isOneLineWithReason() throws IOException {
    Path full = Path.of("/dev/full");
    assumeThat(full).as("needs /dev/full").exists();
    CheckpointStore store = CheckpointStore.open(run, 1);
    assertThatThrownBy(() -> save(store, 7, _ -> Files.write(full, new byte[10])))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("step_0000007: not saved: No space left on device (")
        .hasMessageContaining("no earlier checkpoint")
        .message()
        .doesNotContain("\n");
    assertThat(names()).isEmpty();
  }

  @Test
  void open_fileInPlaceOfTheFolder_isRefused() throws IOException {
    Files.writeString(run.resolve("checkpoints"), "a file");
    assertThatThrownBy(() -> CheckpointStore.open(run, 1))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("checkpoints: cannot be read: not a folder");
  }

  @Test
  void save_fullFileSystem_leavesThePreviousCheckpointWhole() throws Exception {
    Path disk = Files.createDirectory(run.resolve("disk"));
    assumeThat(exec("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk.toString()))
        .as("needs the right to mount a tmpfs")
        .isZero();
    try {
      CheckpointStore store = CheckpointStore.open(disk, 1);
      save(store, 1, tensor(600_000));
      assertThatThrownBy(() -> save(store, 2, tensor(600_000)))
          .isInstanceOf(CheckpointException.class)
          .hasMessageContaining(
              "step_0000002: not saved: model.safetensors: cannot be written: No space left on"
                  + " device (needs 600.1 kB, 0 B free); step_0000001 is whole; make room")
          .message()
          .doesNotContain("\n");
      assertThat(store.list()).extracting(Checkpoint::step).containsExactly(1L);
      try (Stream<Path> files = Files.list(disk.resolve("checkpoints"))) {
        assertThat(files).hasSize(1);
      }
      try (WeightFiles weights = WeightFiles.openStored(store.latest().orElseThrow().folder())) {
        assertThat(weights.tensor("a").bytes().byteSize()).isEqualTo(600_000);
      }
      save(store, 3, tensor(300_000));
      assertThat(store.list()).extracting(Checkpoint::step).containsExactly(3L);
    } finally {
      assertThat(exec("umount", disk.toString())).isZero();
    }
  }

  @Test
  void open_afterAKilledSave_removesItsLeftovers() throws Exception {
    save(CheckpointStore.open(run, 2), 1, SMALL);
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                NeverEndingSave.class.getName(),
                run.toString())
            .redirectErrorStream(true)
            .start();
    try {
      assertThat(process.inputReader().lines().anyMatch("saving"::equals)).isTrue();
    } finally {
      process.destroyForcibly().waitFor(10, TimeUnit.SECONDS);
    }
    assertThat(names()).containsExactly(".saving-step_0000002", "step_0000001");
    assertThat(CheckpointStore.resolveModel(run).getFileName()).hasToString("step_0000001");

    CheckpointStore store = CheckpointStore.open(run, 2);
    assertThat(names()).containsExactly("step_0000001");
    assertThat(store.list()).extracting(Checkpoint::step).containsExactly(1L);
  }

  @Test
  void open_afterAKilledDeletion_removesItsLeftovers() throws IOException {
    Path doomed = Files.createDirectories(run.resolve("checkpoints/.deleting-step_0000001"));
    Files.writeString(doomed.resolve("config.json"), "{}");
    Path foreign = Files.createDirectories(run.resolve("checkpoints/.other"));
    CheckpointStore.open(run, 2);
    assertThat(doomed).doesNotExist();
    assertThat(foreign).exists();
  }

  @Test
  void list_otherNames_areNoCheckpoints() throws IOException {
    Path folder = Files.createDirectories(run.resolve("checkpoints"));
    for (String name : List.of("step_1", "step_00000012x", "best", "step_9999999999999999999")) {
      Files.createDirectory(folder.resolve(name));
    }
    Files.writeString(folder.resolve("step_0000003"), "a file");
    assertThat(CheckpointStore.open(run, 1).list()).isEmpty();
  }

  @Test
  void resolveModel_modelFolder_isItself() throws IOException {
    Files.writeString(run.resolve("config.json"), "{}");
    assertThat(CheckpointStore.resolveModel(run)).isEqualTo(run);
  }

  @Test
  void resolveModel_runFolder_isItsNewestCheckpoint() {
    CheckpointStore store = CheckpointStore.open(run, 0);
    save(store, 20, SMALL);
    Path newest = save(store, 100, SMALL).folder();
    assertThat(CheckpointStore.resolveModel(run)).isEqualTo(newest);
    assertThat(CheckpointStore.resolveModel(newest)).isEqualTo(newest);
  }

  @Test
  void resolveModel_neither_isRefused() {
    assertThatThrownBy(() -> CheckpointStore.resolveModel(run))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("has neither config.json nor checkpoints/step_*");
    assertThatThrownBy(() -> CheckpointStore.resolveModel(run.resolve("none")))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("none: no such folder");
  }

  private static SaveAction tensor(int size) {
    return folder -> {
      Files.writeString(folder.resolve("config.json"), "{}");
      SafetensorsWriter.write(
          folder.resolve("model.safetensors"),
          Map.of(),
          List.of(
              TensorSource.of(
                  "a",
                  SafetensorsType.U8,
                  List.of((long) size),
                  MemorySegment.ofArray(new byte[size]))));
    };
  }

  private static int exec(String... command) throws Exception {
    try {
      return new ProcessBuilder(command).redirectErrorStream(true).start().waitFor();
    } catch (IOException notInstalled) {
      return -1;
    }
  }

  private List<String> names() throws IOException {
    try (Stream<Path> files = Files.list(run.resolve("checkpoints"))) {
      return files.map(path -> path.getFileName().toString()).sorted().toList();
    }
  }

  /** A process that stands in the middle of a save until it is killed. */
  static final class NeverEndingSave {
    private NeverEndingSave() {}

    public static void main(String[] arguments) {
      save(
          CheckpointStore.open(Path.of(arguments[0]), 2),
          2,
          folder -> {
            SMALL.writeInto(folder);
            System.out.println("saving");
            while (!Thread.interrupted()) {
              Thread.onSpinWait();
            }
          });
    }
  }

  /** Writes a checkpoint's files. */
  @FunctionalInterface
  private interface SaveAction {
    void writeInto(Path folder) throws IOException;
  }

  private static Checkpoint save(CheckpointStore store, long step, SaveAction action) {
    CheckpointStore.PendingCheckpoint saving = store.begin(step);
    try {
      action.writeInto(saving.folder());
    } catch (IOException | RuntimeException failure) {
      throw saving.abandon(failure);
    }
    Checkpoint saved = saving.commit(Map.of());
    store.prune(saved.folder());
    return saved;
  }
}
