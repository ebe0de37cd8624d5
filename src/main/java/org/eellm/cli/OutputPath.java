package org.eellm.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import org.eellm.config.ConfigException;

/** Says before long work what would keep its result from being written. */
final class OutputPath {
  private OutputPath() {}

  /**
   * @throws ConfigException if a folder can neither be there nor be made
   */
  static void requireFolder(String option, Path folder) {
    Path existing = folder.toAbsolutePath().normalize();
    while (Files.notExists(existing) && existing.getParent() != null) {
      existing = existing.getParent();
    }
    if (!Files.isDirectory(existing)) {
      throw new ConfigException(
          "%s %s: %s is a file; give another folder".formatted(option, folder, existing));
    }
  }

  /**
   * @throws ConfigException if a file can not be written where it is to be
   */
  static void requireFile(String option, Path file) {
    if (Files.isDirectory(file)) {
      throw new ConfigException("%s %s: is a folder; give a file".formatted(option, file));
    }
    Path parent = file.toAbsolutePath().normalize().getParent();
    if (parent != null && !Files.isDirectory(parent)) {
      throw new ConfigException(
          "%s %s: there is no folder %s; make it, or give another file"
              .formatted(option, file, parent));
    }
  }
}
