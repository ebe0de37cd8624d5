package org.eellm;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import org.bytedeco.pytorch.Device;
import org.eellm.checkpoint.ModelWeights;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.config.Architecture;
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
    writeWeights(target, model);
    tokenizer.save(target);
  }

  /** Writes all of a model's weights as {@code model.safetensors}. */
  public static void writeWeights(Path target, Decoder model) throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      ModelWeights.file(model, 0, 1, arena).write(target);
    }
  }

  /** A model with the weights of a folder. */
  public static Decoder readWeights(Path folder, Architecture architecture, Device device) {
    Decoder model = Decoder.allocate(architecture, device);
    try {
      ModelWeights.load(folder, model);
      return model;
    } catch (RuntimeException failure) {
      model.close();
      throw failure;
    }
  }
}
