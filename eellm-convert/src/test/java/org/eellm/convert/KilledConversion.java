package org.eellm.convert;

import java.nio.file.Path;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.convert.ModelWriter.Options;

/** A process that converts a model and dies, as by SIGKILL, after some tensors. */
final class KilledConversion {
  static final int EXIT_CODE = 137;

  private KilledConversion() {}

  /**
   * @param args source, target, tensors
   */
  public static void main(String[] args) {
    int tensors = Integer.parseInt(args[2]);
    int[] done = {0};
    try (SourceModel model = ModelReader.open(Path.of(args[0]))) {
      ModelWriter.writeModel(
          model,
          Path.of(args[1]),
          Options.asItIs(),
          (bytes, total) -> {
            if (++done[0] == tensors) {
              Runtime.getRuntime().halt(EXIT_CODE);
            }
          });
    }
  }
}
