package org.eellm.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import org.eellm.checkpoint.ModelWeights;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.config.Architecture;
import org.eellm.data.Progress;
import org.eellm.data.corpus.TextCorpus;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.model.Decoder;

/** Model folders for the commands' tests. */
public final class SmallModelFolder {
  private SmallModelFolder() {}

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

  public static void write(Path target, Decoder model, Tokenizer tokenizer) throws IOException {
    Files.createDirectories(target);
    Architecture architecture = model.architecture();
    new HuggingFaceConfig(architecture, OptionalInt.empty(), List.of()).write(target);
    ModelWeights.save(target, model);
    tokenizer.save(target);
  }
}
