package org.eellm.cli.train;

import java.nio.file.Path;
import java.util.Optional;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.cli.option.ConfigOptions;
import org.eellm.cli.option.EellmCommand;
import org.eellm.config.Architecture;
import org.eellm.config.TuneConfig;
import org.eellm.config.TuneConfig.Lora;
import org.eellm.config.TuneConfig.Target;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * {@code eellm tune}: trains the exits of a trained model and nothing else (EE-Tuning), or low-rank
 * changes of its trunk.
 */
@Command(
    name = "tune",
    description =
        "Tunes the exits of a trained model, or with tune.lora low-rank changes of its matrices;"
            + " the model stays as it is; docs/tune.md says how.")
public final class TuneCommand extends EellmCommand {
  @Mixin private ConfigOptions config;
  @Mixin private RunOptions run;

  @Option(
      names = "--model",
      required = true,
      paramLabel = "DIR",
      description =
          "The model: a folder with exits, as eellm add-exits makes one; with tune.lora any.")
  private Path model;

  @Option(
      names = "--heads",
      paramLabel = "DIR",
      description = "Heads to start from in place of the model's own, such as another tuning's.")
  private Optional<Path> heads = Optional.empty();

  @Override
  public Integer call() {
    ModelFolder files = ModelFolder.find(model);
    Architecture architecture = heads.map(files::withHeads).orElse(files).config().architecture();
    TuneConfig start =
        new TuneConfig(
            Optional.of(model.toString()), heads.map(Path::toString), Target.TEXT, Lora.none());
    return run.run(spec, config.readTuning(start, architecture));
  }
}
