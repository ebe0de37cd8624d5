package org.eellm.cli.option;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigFile;
import org.eellm.config.ConfigFile.Text;
import org.eellm.config.RunConfig;
import org.eellm.config.TuneConfig;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Option;

/** The options {@code --config}, {@code --preset} and {@code --set}, as a mixin. */
public final class ConfigOptions {
  @ArgGroup(multiplicity = "1")
  private Origin origin = new Origin();

  @Option(
      names = "--set",
      paramLabel = "SECTION.KEY=VALUE",
      description = "Override a setting, as in --set train.steps=500; the value is YAML.")
  private List<String> overrides = List.of();

  /** Where the configuration is: one of both. */
  private static final class Origin {
    @Option(
        names = "--config",
        paramLabel = "FILE",
        description = "The run's configuration in YAML; see configs/ for presets.")
    private Optional<Path> file = Optional.empty();

    @Option(
        names = "--preset",
        paramLabel = "NAME",
        description = "A preset in place of a file, by its name in configs/, as in tune-chat.")
    private String preset = "";

    private Text text() {
      return file.map(Text::of).orElseGet(() -> Text.ofPreset(preset));
    }
  }

  /** Reads the file and the overrides for a run that tunes a model's exits. */
  public RunConfig readTuning(TuneConfig tune, Architecture architecture) {
    return ConfigFile.readTuning(origin.text(), overrides, tune, architecture);
  }

  /** Reads the file and the overrides for a run that trains a model on. */
  public RunConfig readTrainingOn(Path model, Architecture architecture) {
    return ConfigFile.readTrainingOn(origin.text(), overrides, model, architecture);
  }

  /** Reads the file and the overrides. */
  public RunConfig read() {
    return ConfigFile.read(origin.text(), overrides);
  }
}
