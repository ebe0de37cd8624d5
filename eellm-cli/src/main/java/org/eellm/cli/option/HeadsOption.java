package org.eellm.cli.option;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.config.ConfigException;
import picocli.CommandLine.Option;

/**
 * The options {@code --heads} and {@code --adapter}, as a mixin: exits and changes that are kept
 * apart from the model.
 */
public final class HeadsOption {
  private static final Pattern NAMED = Pattern.compile("([^=/\\\\]+)=(.+)");

  @Option(
      names = "--heads",
      paramLabel = "DIR",
      description =
          "Exits to use in place of the model's own, made for the same trunk: a folder of heads, or"
              + " the output of eellm tune.")
  private Optional<Path> heads = Optional.empty();

  @Option(
      names = "--adapter",
      paramLabel = "[NAME=]DIR",
      description =
          "Low-rank changes of the model's matrices, made for the same trunk: a folder in PEFT's"
              + " layout, or the output of eellm tune with tune.lora. With a name, for eellm serve,"
              + " they stay beside the model for the requests whose model is NAME; may be"
              + " repeated.")
  private List<String> adapters = List.of();

  Optional<Path> heads() {
    return heads;
  }

  Optional<Path> adapter() {
    return adapters.stream().filter(each -> !isNamed(each)).findFirst().map(Path::of);
  }

  /** Whether it is NAME=DIR; a path with = in it may begin with ./ to be none. */
  private static boolean isNamed(String adapter) {
    return NAMED.matcher(adapter).matches();
  }

  /**
   * Finds a model's files, with these heads and changes.
   *
   * @throws ConfigException if adapters have names, for which there is no use but in a server
   */
  public ModelFolder resolve(Path path) {
    for (String each : adapters) {
      if (isNamed(each)) {
        throw new ConfigException(
            "--adapter: %s has a name, which requests to eellm serve choose by; give the folder alone"
                .formatted(each));
      }
    }
    return resolveAll(path);
  }

  /** Finds a model's files, with adapters that have names beside it. */
  ModelFolder resolveAll(Path path) {
    ModelFolder own = ModelFolder.resolve(path);
    ModelFolder files = heads.map(own::withHeads).orElse(own);
    for (String each : adapters) {
      Matcher named = NAMED.matcher(each);
      boolean again =
          named.matches()
              ? files.beside().containsKey(named.group(1))
              : files.adapter().isPresent();
      if (again) {
        throw new ConfigException(
            "--adapter: %s is the second %s; give each adapter a name of its own, as in --adapter poems=DIR"
                .formatted(each, named.matches() ? "of this name" : "without a name"));
      }
      files =
          named.matches()
              ? files.withAdapter(named.group(1), Path.of(named.group(2)))
              : files.withAdapter(Path.of(each));
    }
    return files;
  }
}
