package org.eellm.cli.option;

import java.nio.file.Path;
import java.util.List;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigFile;
import org.eellm.config.RunConfig;
import org.eellm.config.TuneConfig;
import picocli.CommandLine.Option;

/** The options {@code --config} and {@code --set}, as a mixin. */
public final class ConfigOptions {
  @Option(
      names = "--config",
      required = true,
      paramLabel = "FILE",
      description = "The run's configuration in YAML; see configs/ for presets.")
  private Path file;

  @Option(
      names = "--set",
      paramLabel = "SECTION.KEY=VALUE",
      description = "Override a setting, as in --set train.steps=500; the value is YAML.")
  private List<String> overrides = List.of();

  /** Reads the file and the overrides for a run that tunes a model's exits. */
  public RunConfig readTuning(TuneConfig tune, Architecture architecture) {
    return ConfigFile.readTuning(file, overrides, tune, architecture);
  }

  /** Reads the file and the overrides for a run that trains a model on. */
  public RunConfig readTrainingOn(Path model, Architecture architecture) {
    return ConfigFile.readTrainingOn(file, overrides, model, architecture);
  }

  /** Reads the file and the overrides. */
  public RunConfig read() {
    return ConfigFile.read(file, overrides);
  }
}
