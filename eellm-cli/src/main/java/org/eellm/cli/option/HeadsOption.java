package org.eellm.cli.option;

import java.nio.file.Path;
import java.util.Optional;
import org.eellm.checkpoint.ModelFolder;
import picocli.CommandLine.Option;

/** The option {@code --heads}, as a mixin: exits that are kept apart from the model. */
public final class HeadsOption {
  @Option(
      names = "--heads",
      paramLabel = "DIR",
      description =
          "Exits to use in place of the model's own, made for the same trunk: a folder of heads, or"
              + " the output of eellm tune.")
  private Optional<Path> heads = Optional.empty();

  Optional<Path> heads() {
    return heads;
  }

  /** Finds a model's files, with these heads. */
  public ModelFolder resolve(Path path) {
    return heads
        .map(other -> ModelFolder.resolve(path, other))
        .orElseGet(() -> ModelFolder.resolve(path));
  }
}
