package org.eellm.spring;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.eellm.SavedModel;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.decode.SmallModel;
import org.eellm.model.Decoder;

/** A model of six layers with three exits that nobody has trained. */
public final class TinyModel {
  private TinyModel() {}

  /** Writes it into a folder, which this returns. */
  public static Path write(Path target) throws IOException {
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, false, false, false);
    try (Decoder decoder = SmallModel.of(exits, DataType.FLOAT32)) {
      SavedModel.write(target, decoder);
    }
    return target;
  }
}
