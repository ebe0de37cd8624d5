package org.eellm.checkpoint.safetensors;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.eellm.file.InputFiles;

/** Where the files of a model folder may lie. */
public final class ModelFiles {
  private ModelFiles() {}

  /** Whether a folder has a file of this name. */
  public static boolean has(Path folder, String name) {
    return Files.exists(folder.resolve(name));
  }

  /**
   * A file of a folder. A link must lead to a file in the same folder, or to one of the cache that
   * Hugging Face's tools keep beside it: a folder from elsewhere is not to reach other files.
   *
   * @throws CheckpointException if it is no regular file or leads elsewhere
   */
  public static Path file(Path folder, String name) {
    Path path = folder.resolve(name);
    try {
      Path real = path.toRealPath();
      Path root = folder.toRealPath();
      if (!real.startsWith(root) && !real.startsWith(root.resolve("../../blobs").normalize())) {
        throw new CheckpointException(
            "%s: leads to %s, outside the model's folder; put the file itself there"
                .formatted(path, real));
      }
      InputFiles.requireRegular(real);
      return path;
    } catch (IOException failure) {
      throw CheckpointException.unreadable(path, failure);
    }
  }
}
