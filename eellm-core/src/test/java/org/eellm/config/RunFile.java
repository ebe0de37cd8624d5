package org.eellm.config;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** A configuration in a file. */
final class RunFile {
  private RunFile() {}

  /** Reads a file {@code run.yaml}; messages name it without the folder. */
  static RunConfig read(Path folder, String yaml, String... overrides) throws IOException {
    Path file = Files.writeString(folder.resolve("run.yaml"), yaml);
    try {
      return ConfigFile.read(file, List.of(overrides));
    } catch (ConfigException e) {
      String message = String.valueOf(e.getMessage());
      throw new ConfigException(message.replace(folder + "/", ""), e);
    }
  }
}
