package org.eellm.train;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.SplittableRandom;
import org.eellm.config.ConfigFile;
import org.eellm.config.RunConfig;
import org.eellm.data.IndexedDatasetWriter;

/**
 * A run of a moment: a model of some ten thousand parameters, and sequences whose next token it can
 * learn to guess.
 */
public final class TinyRun {
  private static final int VOCABULARY = 32;
  private static final int END = VOCABULARY - 1;

  private TinyRun() {}

  /** A configuration for a dataset in the folder, which is made if absent. */
  public static RunConfig config(Path folder, String... overrides) {
    return ConfigFile.read(configFile(folder), List.of(overrides));
  }

  /** The configuration as a file. */
  public static Path configFile(Path folder) {
    Path data = folder.resolve("data");
    if (!Files.exists(folder.resolve("data.idx"))) {
      write(data);
    }
    Path file = folder.resolve("tiny.yaml");
    try {
      Files.writeString(
          file,
          """
          model: {vocab_size: %d, hidden_size: 32, num_layers: 4, num_heads: 2, max_positions: 16}
          exits: {layers: [1, 2], weights: [0.25, 0.5]}
          data: {sources: ["%s"], split: [80, 20, 0], sequence_length: 16}
          train: {steps: 30, micro_batch_size: 2, global_batch_size: 4, eval_interval: 10, eval_batches: 2, threads: 1}
          optimizer: {learning_rate: 1e-2, schedule: constant, warmup_steps: 5}
          """
              .formatted(VOCABULARY, data));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return file;
  }

  /** Documents in which a token allows two next ones. */
  private static void write(Path prefix) {
    SplittableRandom random = new SplittableRandom(1);
    try (IndexedDatasetWriter writer = IndexedDatasetWriter.create(prefix, VOCABULARY)) {
      for (int document = 0; document < 200; document++) {
        int token = random.nextInt(END);
        for (int i = 0; i < 40; i++) {
          writer.add(token);
          token = (3 * token + 1 + random.nextInt(2)) % END;
        }
        writer.add(END);
        writer.endDocument();
      }
      writer.finish();
      writer.commit();
    }
  }
}
