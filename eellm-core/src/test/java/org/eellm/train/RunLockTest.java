package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.function.BooleanSupplier;
import org.eellm.checkpoint.CheckpointStore;
import org.eellm.config.ConfigException;
import org.eellm.config.RunConfig;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Somebody removes {@code run.lock} under a run. */
@Timeout(60)
@EnabledOnOs({OS.LINUX, OS.MAC}) // Elsewhere the system refuses.
final class RunLockTest {
  @TempDir Path folder;

  /** Another process that locks a file, tells whether it could, and holds it until it is told. */
  public static final class OtherProcess {
    private OtherProcess() {}

    public static void main(String[] args) throws IOException {
      try (FileChannel file =
          FileChannel.open(Path.of(args[0]), StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
        System.out.println(file.tryLock() != null);
        int _ = System.in.read();
      }
    }
  }

  private static Process other(Path lock) throws IOException {
    return new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-XX:TieredStopAtLevel=1",
            "-cp",
            System.getProperty("java.class.path"),
            OtherProcess.class.getName(),
            lock.toString())
        .start();
  }

  private static boolean couldLock(Process other) throws IOException {
    return Boolean.parseBoolean(other.inputReader().readLine());
  }

  private static void train(Trainer trainer, BooleanSupplier beforeEachStep) {
    trainer.run(_ -> {}, beforeEachStep);
  }

  @Test
  void run_lockRemoved_keepsOthersOutAgain() throws Exception {
    RunConfig config = TinyRun.config(folder, "train.steps=8", "checkpoint.interval=2");
    Path run = folder.resolve("run");
    Path lock = run.resolve(RunLock.FILE);
    try (Trainer trainer = Trainer.start(config, run)) {
      Files.delete(lock);
      train(trainer, () -> false);
      Process other = other(lock);
      assertThat(couldLock(other)).isFalse();
      other.getOutputStream().close();
      assertThat(other.waitFor()).isZero();
    }
    assertThat(CheckpointStore.open(run, 0).list()).hasSize(2);
  }

  @Test
  void run_lockRemovedAndAnotherRunInTheFolder_endsAndLeavesItsFiles() throws Exception {
    RunConfig config = TinyRun.config(folder, "train.steps=8");
    Path run = folder.resolve("run");
    Path lock = run.resolve(RunLock.FILE);
    Path saving = run.resolve("checkpoints/.saving-step_0000008");
    try (Trainer trainer = Trainer.start(config, run)) {
      Files.delete(lock);
      Process other = other(lock);
      try {
        assertThat(couldLock(other)).isTrue();
        Files.createDirectories(saving);
        assertThatThrownBy(() -> train(trainer, () -> false))
            .isInstanceOf(TrainException.class)
            .hasMessageContaining("run.lock: was removed or replaced while this run had it, and")
            .hasMessageContaining("trains here now; this run ends without saving;");
        assertThat(saving).exists();
        assertThat(CheckpointStore.folder(run, 8)).doesNotExist();
      } finally {
        other.destroyForcibly();
      }
    }
  }

  @Test
  void resume_lockRemovedWhileACheckpointIsWritten_isRefused() throws IOException {
    RunConfig config = TinyRun.config(folder, "train.steps=8");
    Path run = folder.resolve("run");
    try (Trainer trainer = Trainer.start(config, run)) {
      train(trainer, () -> trainer.step() == 2);
    }
    Path saving = Files.createDirectory(run.resolve("checkpoints/.saving-step_0000008"));
    Files.delete(run.resolve(RunLock.FILE));

    assertThatThrownBy(() -> Trainer.resume(config, run))
        .isInstanceOf(ConfigException.class)
        .hasMessage(
            "--output %s: has no run.lock, and another run may be writing .saving-step_0000008; see"
                + " that none is, and remove that folder",
            run);
    assertThat(saving).exists();
    assertThat(run.resolve(RunLock.FILE)).doesNotExist();
  }
}
