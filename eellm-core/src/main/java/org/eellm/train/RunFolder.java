package org.eellm.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.eellm.checkpoint.CheckpointStore;
import org.eellm.config.ConfigException;
import org.eellm.config.ConfigFile;
import org.eellm.config.RunConfig;
import org.eellm.config.yaml.ConfigDifferences;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A run's output folder: {@code config.yaml} (every setting as resolved), {@code metrics.jsonl},
 * {@code tensorboard/}, {@code checkpoints/}, {@code loss.png} and, if asked for, {@code
 * trace.json}.
 */
public final class RunFolder implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(RunFolder.class);

  private final Path path;

  /** None on other ranks than the first. */
  private final @Nullable RunLock lock;

  /** Files and folders that were made for this run, in that order. */
  private final List<Path> made;

  private RunFolder(Path path, @Nullable RunLock lock, List<Path> made) {
    this.path = path;
    this.lock = lock;
    this.made = made;
  }

  /**
   * Starts a run in a folder that is absent, or empty but for {@link #data}. No other run gets in
   * until {@link #close}.
   *
   * @param config as resolved; written to {@code config.yaml}
   * @throws ConfigException if the folder has anything in it
   * @throws TrainException if it cannot be used
   */
  public static RunFolder create(Path path, RunConfig config) {
    List<Path> made = new ArrayList<>();
    for (Path absent = path.toAbsolutePath();
        absent != null && !Files.exists(absent);
        absent = absent.getParent()) {
      made.addFirst(absent);
    }
    try {
      Files.createDirectories(path);
      if (!isEmpty(path)) {
        throw new ConfigException(
            "--output "
                + path
                + ": is not empty; give another folder, or --resume to go on with the run in it");
      }
      made.add(path.resolve(RunLock.FILE));
      RunFolder folder = new RunFolder(path, RunLock.acquire(path), made);
      made.add(folder.config());
      ConfigFile.write(config, folder.config());
      return folder;
    } catch (IOException e) {
      throw TrainException.of(path, "cannot be written", e);
    }
  }

  /** Removes what {@link #create} made, of a run that could not start, and closes it. */
  void discard() {
    for (Path file : made.reversed()) {
      try {
        Files.deleteIfExists(file);
      } catch (IOException e) {
        LOG.warn("{}: cannot be removed: {}; remove it by hand", file, e.getMessage());
      }
    }
    close();
  }

  /**
   * Goes on with the run in a folder. The configuration then is the given one: its steps, logging
   * and the like replace those of before. No other run gets in until {@link #close}.
   *
   * @param config as resolved; must equal the run's but for settings that change no step
   * @throws ConfigException if there is no run or another setting differs, by name
   */
  public static RunFolder resume(Path path, RunConfig config) {
    RunFolder folder = join(path);
    if (!Files.exists(folder.config())) {
      throw new ConfigException(
          Files.exists(path.resolve(CheckpointStore.FOLDER))
              ? "--output %s: has checkpoints and no config.yaml, so that their settings are unknown; put that file back, or give another folder"
                  .formatted(path)
              : "--output %s: has no config.yaml of a run to resume; leave out --resume to start one"
                  .formatted(path));
    }
    requireNoSave(path);
    try {
      RunFolder locked = new RunFolder(path, RunLock.acquire(path), List.of());
      try {
        locked.replaceConfig(config);
        return locked;
      } catch (IOException | RuntimeException e) {
        locked.close();
        throw e;
      }
    } catch (IOException e) {
      throw TrainException.of(folder.config(), "cannot be written", e);
    }
  }

  /** A run whose lock was taken away does not know of another before its next step. */
  private static void requireNoSave(Path path) {
    Optional<Path> unfinished = CheckpointStore.unfinished(path);
    if (unfinished.isPresent() && !Files.exists(path.resolve(RunLock.FILE))) {
      throw new ConfigException(
          "--output %s: has no %s, and another run may be writing %s; see that none is, and remove that folder"
              .formatted(path, RunLock.FILE, unfinished.get().getFileName()));
    }
  }

  private void replaceConfig(RunConfig config) throws IOException {
    RunConfig before = ConfigFile.read(config(), List.of());
    for (ConfigDifferences.Difference difference : ConfigDifferences.between(before, config)) {
      if (!difference.mayChange()) {
        throw new ConfigException(
            "%s: %s, but the run in %s has %s; resume with its setting or start another run"
                .formatted(difference.name(), difference.second(), path, difference.first()));
      }
      LOG.info(
          "{}: {} from here on; it was {}",
          difference.name(),
          difference.second(),
          difference.first());
    }
    ConfigFile.write(config, config());
  }

  /** Whether there is a run in a folder, which {@link #resume} would go on with. */
  public static boolean hasRun(Path path) {
    return Files.exists(join(path).config());
  }

  /** The folder of a run that the first rank starts or resumes. */
  static RunFolder join(Path path) {
    return new RunFolder(path, null, List.of());
  }

  private static boolean isEmpty(Path path) throws IOException {
    try (Stream<Path> children = Files.list(path)) {
      return children.allMatch(child -> child.equals(data(path)) || child.endsWith(RunLock.FILE));
    }
  }

  /** Where a run keeps text of its own, if it has any: it may be there before the run starts. */
  public static Path data(Path path) {
    return path.resolve("data");
  }

  /**
   * Makes sure that no other run gets in, whatever became of the lock's file.
   *
   * @throws TrainException if one has
   */
  void confirmLock() {
    if (lock == null) {
      return;
    }
    try {
      lock.confirm();
    } catch (IOException e) {
      throw TrainException.of(path.resolve(RunLock.FILE), "cannot be read or written", e);
    }
  }

  /** Lets other runs in. */
  @Override
  public void close() {
    if (lock != null) {
      lock.close();
    }
  }

  /** The folder itself. */
  public Path path() {
    return path;
  }

  /** The resolved configuration. */
  public Path config() {
    return path.resolve("config.yaml");
  }

  /** One JSON object a step. */
  public Path metrics() {
    return path.resolve("metrics.jsonl");
  }

  /** The folder of TensorBoard's events. */
  public Path tensorBoard() {
    return path.resolve("tensorboard");
  }

  /** The trace of every rank, where a run was asked for it. */
  public Path trace() {
    return path.resolve("trace.json");
  }

  /** The picture of the losses. */
  public Path lossPlot() {
    return path.resolve("loss.png");
  }
}
