package org.eellm.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The files in a checkpoint's {@code training} folder, which only a resumed run needs. */
public final class TrainingFiles {
  private static final String FOLDER = "training";

  private TrainingFiles() {}

  /** Where the optimizer's tensors are. */
  public static Path optimizer(Path checkpoint) {
    return checkpoint.resolve(FOLDER).resolve("optimizer.safetensors");
  }

  private static Path state(Path checkpoint) {
    return checkpoint.resolve(FOLDER).resolve("state.json");
  }

  /**
   * Writes all that a resumed run must know beside tensors, as JSON with snake_case keys.
   *
   * @param state a record of numbers, texts, lists and records; what is read back equals it, bit
   *     for bit
   */
  public static void writeState(Path checkpoint, Record state) throws IOException {
    Files.createDirectories(checkpoint.resolve(FOLDER));
    JsonFiles.write(state(checkpoint), state);
  }

  /**
   * Reads what {@link #writeState} wrote.
   *
   * @throws CheckpointException if the checkpoint has no training state or it is malformed
   */
  public static <T extends Record> T readState(Path checkpoint, Class<T> type) {
    Path path = state(checkpoint);
    if (!Files.exists(path)) {
      throw new CheckpointException(
          path + ": is missing; only a checkpoint of a training run can be resumed");
    }
    return JsonFiles.read(path, type);
  }
}
