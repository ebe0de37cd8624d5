package org.eellm;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import org.eellm.checkpoint.ModelWeights;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.data.Progress;
import org.eellm.data.corpus.TextCorpus;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.model.Decoder;

/** Model folders for tests. */
public final class SavedModel {
  private SavedModel() {}

  /** Writes a model with a tokenizer of 260 tokens. */
  public static void write(Path target, Decoder model) throws IOException {
    Files.createDirectories(target);
    Path corpus = target.resolveSibling(target.getFileName() + "-corpus.txt");
    Files.writeString(corpus, "the cat and the dog and the bird and the cat and the end\n");
    Tokenizer tokenizer =
        BpeTrainer.train(
            TextCorpus.of(List.of(corpus.toString()), TextCorpus.Format.DEFAULT),
            260,
            1,
            Progress.NONE);
    write(target, model, tokenizer);
  }

  /** Writes a model with a tokenizer. */
  public static void write(Path target, Decoder model, Tokenizer tokenizer) throws IOException {
    Files.createDirectories(target);
    new HuggingFaceConfig(model.architecture(), OptionalInt.empty(), List.of()).write(target);
    ModelWeights.save(target, model);
    tokenizer.save(target);
  }
}
