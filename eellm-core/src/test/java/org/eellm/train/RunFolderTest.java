package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.eellm.config.ConfigException;
import org.eellm.config.ConfigFile;
import org.eellm.config.RunConfig;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class RunFolderTest {
  @TempDir Path temporary;

  private RunConfig config(String... overrides) throws IOException {
    Path file = temporary.resolve("given.yaml");
    Files.writeString(file, "exits: {layers: [2, 4]}\n");
    return ConfigFile.read(file, List.of(overrides));
  }

  @Test
  void create_absentFolder_writesTheResolvedConfig() throws IOException {
    try (RunFolder folder = RunFolder.create(temporary.resolve("runs/a"), config())) {
      assertThat(ConfigFile.read(folder.config(), List.of())).isEqualTo(config());
    }
  }

  @Test
  void create_folderOfARunThatGoesOn_isRefused() throws IOException {
    Path run = temporary.resolve("run");
    RunConfig config = config();
    try (RunFolder _ = RunFolder.create(run, config)) {
      assertThatThrownBy(() -> RunFolder.resume(run, config))
          .isInstanceOf(ConfigException.class)
          .hasMessage(
              "--output %s: a run of this process trains in it; wait for that, stop it, or give"
                  + " another folder",
              run);
    }
    RunFolder.resume(run, config).close();
  }

  @Test
  void discard_newRun_leavesNothingOfIt() throws IOException {
    Path run = temporary.resolve("runs/a");
    RunFolder.create(run, config()).discard();
    assertThat(temporary.resolve("runs")).doesNotExist();
    Path empty = Files.createDirectory(temporary.resolve("empty"));
    RunFolder.create(empty, config()).discard();
    assertThat(empty).isEmptyDirectory();
  }

  @Test
  void create_folderWithFiles_isRefused() throws IOException {
    Path run = Files.createDirectory(temporary.resolve("run"));
    Files.writeString(run.resolve("thesis.txt"), "precious");
    RunConfig config = config();
    assertThatThrownBy(() -> RunFolder.create(run, config))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining(run.toString())
        .hasMessageContaining("--resume");
    assertThat(run.resolve("config.yaml")).doesNotExist();
  }

  @Test
  void create_pathIsAFile_saysSo() throws IOException {
    Path file = Files.createFile(temporary.resolve("file"));
    RunConfig config = config();
    assertThatThrownBy(() -> RunFolder.create(file, config))
        .isInstanceOf(TrainException.class)
        .hasMessageContaining("file: cannot be written");
  }

  @Test
  void resume_noRun_isRefused() throws IOException {
    RunConfig config = config();
    assertThatThrownBy(() -> RunFolder.resume(temporary.resolve("absent"), config))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining("no config.yaml");
  }

  @Test
  void resume_checkpointsWithoutConfig_doesNotSayToStart() throws IOException {
    Path run = temporary.resolve("run");
    Files.createDirectories(run.resolve("checkpoints"));
    RunConfig config = config();
    assertThatThrownBy(() -> RunFolder.resume(run, config))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining("has checkpoints and no config.yaml")
        .hasMessageEndingWith("put that file back, or give another folder");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "optimizer.weight_decay=0 | optimizer.weight_decay: 0.0, but the run in",
        "exits.layers=[2] | exits.layers: [2], but the run in",
        "model.rope_scaling={type: linear, factor: 2} | model.rope_scaling:"
            + " {type:linear,factor:2.0}, but",
        "train.seed=7 | train.seed: 7, but the run in",
        "data.sequence_length=128 | data.sequence_length: 128, but the run in",
      })
  void resume_settingThatChangesSteps_isRefusedByName(String override, String message)
      throws IOException {
    Path run = temporary.resolve("run");
    RunFolder.create(run, config()).close();
    RunConfig other = config(override);
    assertThatThrownBy(() -> RunFolder.resume(run, other))
        .isInstanceOf(ConfigException.class)
        .hasMessageStartingWith(message);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "train.steps=5000",
        "optimizer.learning_rate=1e-5",
        "optimizer.warmup_steps=50",
        "optimizer.clip_norm=0.5",
        "train.eval_interval=7",
        "train.eval_batches=3",
        "train.max_bad_steps=2",
        "train.threads=1",
        "checkpoint.interval=9",
        "checkpoint.keep=1",
        "logging.interval=1",
        "logging.tensorboard=false",
      })
  void resume_settingThatChangesNoStep_replacesTheRuns(String override) throws IOException {
    Path run = temporary.resolve("run");
    RunFolder.create(run, config()).close();
    RunConfig other = config(override);
    try (RunFolder folder = RunFolder.resume(run, other)) {
      assertThat(ConfigFile.read(folder.config(), List.of()))
          .isEqualTo(other)
          .isNotEqualTo(config());
    }
  }
}
