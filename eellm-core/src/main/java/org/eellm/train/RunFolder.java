package org.eellm.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.eellm.config.ConfigException;
import org.eellm.config.ConfigFile;
import org.eellm.config.RunConfig;
import org.eellm.config.setting.ConfigDifferences;

/**
 * A run's output folder: {@code config.yaml} (every setting as resolved), {@code metrics.jsonl},
 * {@code tensorboard/}, {@code checkpoints/}, {@code loss.png} and, if asked for, {@code
 * trace.json}.
 */
public final class RunFolder {

  /**
   * Settings that a resumed run may give anew: none of them changes what a step computes, given the
   * same steps.
   */
  private final Path path;

  private RunFolder(Path path) {
    this.path = path;
  }

  /**
   * Starts a run in a folder that is absent, or empty but for {@link #data}.
   *
   * @param config as resolved; written to {@code config.yaml}
   * @throws ConfigException if the folder has anything in it
   * @throws TrainException if it cannot be used
   */
  public static RunFolder create(Path path, RunConfig config) {
    RunFolder folder = new RunFolder(path);
    try {
      Files.createDirectories(path);
      if (!isEmpty(path)) {
        throw new ConfigException(
            "--output "
                + path
                + ": is not empty; give another folder, or --resume to go on with the run in it");
      }
      ConfigFile.write(config, folder.config());
    } catch (IOException e) {
      throw TrainException.of(path, "cannot be written", e);
    }
    return folder;
  }

  /**
   * Goes on with the run in a folder. The configuration then is the given one: its steps, logging
   * and the like replace those of before.
   *
   * @param config as resolved; must equal the run's but for settings that change no step
   * @throws ConfigException if there is no run or another setting differs, by name
   */
  public static RunFolder resume(Path path, RunConfig config) {
    RunFolder folder = new RunFolder(path);
    if (!Files.exists(folder.config())) {
      throw new ConfigException(
          "--output "
              + path
              + ": has no config.yaml of a run to resume; leave out --resume to start one");
    }
    RunConfig before = ConfigFile.read(folder.config(), List.of());
    for (ConfigDifferences.Difference difference : ConfigDifferences.between(before, config)) {
      if (!difference.mayChange()) {
        throw new ConfigException(
            "%s: %s, but the run in %s has %s; resume with its setting or start another run"
                .formatted(difference.name(), difference.second(), path, difference.first()));
      }
    }
    try {
      ConfigFile.write(config, folder.config());
    } catch (IOException e) {
      throw TrainException.of(folder.config(), "cannot be written", e);
    }
    return folder;
  }

  /** Whether there is a run in a folder, which {@link #resume} would go on with. */
  public static boolean hasRun(Path path) {
    return Files.exists(new RunFolder(path).config());
  }

  /** The folder of a run that the first rank starts or resumes. */
  static RunFolder join(Path path) {
    return new RunFolder(path);
  }

  private static boolean isEmpty(Path path) throws IOException {
    try (Stream<Path> children = Files.list(path)) {
      return children.allMatch(data(path)::equals);
    }
  }

  /** Where a run keeps text of its own, if it has any: it may be there before the run starts. */
  public static Path data(Path path) {
    return path.resolve("data");
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

  /** What every rank did, and when, where a run was asked for it. */
  public Path trace() {
    return path.resolve("trace.json");
  }

  /** The picture of the losses. */
  public Path lossPlot() {
    return path.resolve("loss.png");
  }
}
