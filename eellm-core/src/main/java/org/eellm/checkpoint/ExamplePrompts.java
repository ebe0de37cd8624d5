package org.eellm.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFiles;

/**
 * Texts that a model continues well, in the file {@code prompts.json} of a model folder: the
 * server's page opens on the first one, and offers the others.
 *
 * @param prompts in the language that the model was trained on; may be none
 */
public record ExamplePrompts(List<String> prompts) {
  static final String FILE = "prompts.json";

  public ExamplePrompts {
    prompts = List.copyOf(prompts);
  }

  /**
   * Reads a model folder's; without prompts if it has none.
   *
   * @throws CheckpointException if the file is damaged
   */
  public static ExamplePrompts read(Path folder) {
    Path path = folder.resolve(FILE);
    return Files.exists(path)
        ? JsonFiles.read(path, ExamplePrompts.class)
        : new ExamplePrompts(List.of());
  }

  /** Writes them into a model folder. */
  public void write(Path folder) throws IOException {
    JsonFiles.write(folder.resolve(FILE), this);
  }
}
