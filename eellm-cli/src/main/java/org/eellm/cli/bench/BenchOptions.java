package org.eellm.cli.bench;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.cli.option.Usage;
import org.eellm.config.ConfigFile;
import org.eellm.config.RunConfig;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;

/** Options of every benchmark, as a mixin: the model and the number of rounds. */
final class BenchOptions {
  @Option(
      names = "--config",
      paramLabel = "FILE",
      description = "The run's configuration in YAML (default: configs/30m.yaml).")
  private Optional<Path> file = Optional.empty();

  @Option(
      names = "--set",
      paramLabel = "SECTION.KEY=VALUE",
      description = "Override a setting, as in --set model.dtype=float32.")
  private List<String> overrides = List.of();

  @Option(
      names = "--rounds",
      defaultValue = "15",
      description = "Measurements of each kind (default: ${DEFAULT-VALUE}).")
  private int rounds;

  /** The configuration; its vocabulary's size must be given, since there is no tokenizer. */
  RunConfig read(CommandSpec spec) {
    Usage.requireAtLeast(spec, 1, rounds, "--rounds");
    RunConfig config =
        file.map(path -> ConfigFile.read(path, overrides))
            .orElseGet(() -> ConfigFile.preset("30m", overrides));
    Usage.require(
        spec,
        config.model().vocabSize() > 0,
        "model.vocab_size: 0 needs a tokenizer, and there is none here; use --set"
            + " model.vocab_size=8192");
    return config;
  }

  /**
   * The configuration of a run that trains a model on; it needs a file.
   *
   * @param model a folder, as {@code eellm train --model} takes it
   */
  RunConfig readTrainingOn(CommandSpec spec, Path model) {
    Usage.requireAtLeast(spec, 1, rounds, "--rounds");
    Path config =
        file.orElseThrow(
            () ->
                new ParameterException(
                    spec.commandLine(),
                    "--model: needs a --config that says what it learns from, as eellm train"
                        + " does"));
    return ConfigFile.readTrainingOn(
        ConfigFile.Text.of(config),
        overrides,
        model,
        ModelFolder.find(model).config().architecture());
  }

  int rounds() {
    return rounds;
  }
}
