package org.eellm.cli;

import java.io.IOException;
import java.nio.file.Path;
import org.eellm.SavedModel;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.model.Decoder;

/** Model folders for the commands' tests. */
public final class SmallModelFolder {
  private SmallModelFolder() {}

  /** Writes a model with a tokenizer of 260 tokens. */
  public static void write(Path target, Decoder model) throws IOException {
    SavedModel.write(target, model);
  }

  public static void write(Path target, Decoder model, Tokenizer tokenizer) throws IOException {
    SavedModel.write(target, model, tokenizer);
  }
}
