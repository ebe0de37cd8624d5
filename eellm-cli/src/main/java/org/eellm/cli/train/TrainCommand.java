package org.eellm.cli.train;

import java.nio.file.Path;
import java.util.Optional;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.cli.option.ConfigOptions;
import org.eellm.cli.option.EellmCommand;
import org.eellm.config.ConfigException;
import org.eellm.config.RunConfig;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eellm train}: trains a model as a configuration says. */
@Command(name = "train", description = "Trains an early-exit model; docs/train.md says how.")
public final class TrainCommand extends EellmCommand {
  @Mixin private ConfigOptions config;
  @Mixin private RunOptions run;

  @Option(
      names = "--model",
      paramLabel = "DIR",
      description =
          "Start from this model's weights in place of random ones: a model folder, a checkpoint,"
              + " or a run's output. Its exits may be those of eellm add-exits.")
  private Optional<Path> model = Optional.empty();

  @Override
  public Integer call() {
    RunConfig given =
        model
            .map(
                folder ->
                    config.readTrainingOn(
                        folder, ModelFolder.resolve(folder).config().architecture()))
            .orElseGet(config::read);
    if (given.tune().model().isPresent()) {
      throw new ConfigException(
          "tune.model: %s is for eellm tune; use that, or remove the section"
              .formatted(given.tune().model().get()));
    }
    return run.run(spec, given);
  }
}
