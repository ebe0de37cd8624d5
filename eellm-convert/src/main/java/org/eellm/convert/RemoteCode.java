package org.eellm.convert;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;

/**
 * The Python file by which transformers computes exits, and the field of {@code config.json} that
 * names it. transformers runs it if it is told to trust the folder's code.
 */
final class RemoteCode {
  private static final String FILE = "modeling_eellm.py";
  static final String FIELD = "auto_map";
  private static final String LOADER = "AutoModelForCausalLM";
  private static final String CLASS = "modeling_eellm.EarlyExitForCausalLM";

  private RemoteCode() {}

  /** Names the file in a folder's configuration. */
  static void name(ObjectNode config) {
    config.withObjectProperty(FIELD).put(LOADER, CLASS);
  }

  /** Removes its name from a configuration that has it. */
  static void forget(ObjectNode config) {
    if (config.path(FIELD) instanceof ObjectNode names
        && names.path(LOADER).asText().equals(CLASS)) {
      names.remove(LOADER);
      if (names.isEmpty()) {
        config.remove(FIELD);
      }
    }
  }

  /** Writes the file into a folder. */
  static void write(Path folder) throws IOException {
    try (InputStream file = RemoteCode.class.getResourceAsStream(FILE)) {
      Files.write(folder.resolve(FILE), Objects.requireNonNull(file, FILE).readAllBytes());
    }
  }
}
