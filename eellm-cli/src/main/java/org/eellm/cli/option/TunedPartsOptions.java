package org.eellm.cli.option;

import java.nio.file.Path;
import java.util.Optional;
import org.eellm.checkpoint.ModelFolder;
import picocli.CommandLine.Option;

/**
 * The options {@code --heads} and {@code --adapter}, as a mixin: exits and changes that are kept
 * apart from the model.
 */
public final class TunedPartsOptions {
  @Option(
      names = "--heads",
      paramLabel = "DIR",
      description =
          "Exits to use in place of the model's own, made for the same trunk: a folder of heads, or"
              + " the output of eellm tune.")
  private Optional<Path> heads = Optional.empty();

  @Option(
      names = "--adapter",
      paramLabel = "DIR",
      description =
          "Low-rank changes of the model's matrices, made for the same trunk: a folder in PEFT's"
              + " layout, or the output of eellm tune with tune.lora.")
  private Optional<Path> adapter = Optional.empty();

  Optional<Path> heads() {
    return heads;
  }

  Optional<Path> adapter() {
    return adapter;
  }

  /** Finds a model's files, with these heads and changes. */
  public ModelFolder resolve(Path path) {
    ModelFolder own = ModelFolder.resolve(path);
    ModelFolder headed = heads.map(own::withHeads).orElse(own);
    return adapter.map(headed::withAdapter).orElse(headed);
  }
}
