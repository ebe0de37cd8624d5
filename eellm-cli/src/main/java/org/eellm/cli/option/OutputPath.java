package org.eellm.cli.option;

import java.nio.file.Files;
import java.nio.file.Path;
import org.eellm.config.ConfigException;

/** Says before long work what would keep its result from being written. */
public final class OutputPath {
  private OutputPath() {}

  /**
   * @throws ConfigException if a folder can neither be there nor be made
   */
  public static void requireFolder(String option, Path folder) {
    require(option, folder, folder, "give another folder");
  }

  /**
   * @throws ConfigException if a file cannot be written where it is to be
   */
  public static void requireFile(String option, Path file) {
    if (Files.isDirectory(file)) {
      throw new ConfigException("%s %s: is a folder; give a file".formatted(option, file));
    }
    require(option, file, file.resolveSibling(""), "give another place");
  }

  private static void require(String option, Path given, Path folder, String remedy) {
    Path existing = folder.toAbsolutePath().normalize();
    while (!Files.exists(existing) && existing.getParent() != null) {
      existing = existing.getParent();
    }
    if (!Files.isDirectory(existing)) {
      throw new ConfigException(
          "%s %s: %s is a file; %s".formatted(option, given, existing, remedy));
    }
  }
}
