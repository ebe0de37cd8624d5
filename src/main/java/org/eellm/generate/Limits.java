package org.eellm.generate;

import org.eellm.config.ConfigException;
import org.eellm.model.Decoder;

/**
 * Bounds of generation that change speed and memory, but no text; apart from {@code vocabSize}.
 *
 * @param vocabSize ids that may be generated: those below. A model's vocabulary is often padded
 *     beyond its tokenizer's
 * @param batchSize sequences in work at once; further requests wait until one is done
 * @param maxPending how many hidden states of a sequence may wait at an exit for the layers above,
 *     before they go on though nobody needs them yet
 */
public record Limits(int vocabSize, int batchSize, int maxPending) {
  /** Sequences in work at once by default. */
  public static final int BATCH_SIZE = 8;

  /**
   * Waiting rows by default. A block of 32 rows passes the upper layers in about the time of three
   * single rows on a CPU, so filling costs a tenth of a full pass per token, and no token waits
   * long.
   */
  public static final int MAX_PENDING = 32;

  public Limits {
    require(vocabSize >= 1, "vocab-size", vocabSize);
    require(batchSize >= 1, "batch-size", batchSize);
    require(maxPending >= 1, "max-pending", maxPending);
  }

  private static void require(boolean condition, String name, int value) {
    if (!condition) {
      throw new ConfigException(name + ": " + value + " is below 1; use 1 or more");
    }
  }

  /** The defaults for a model, all of whose vocabulary may be generated. */
  public static Limits of(Decoder model) {
    return new Limits(model.architecture().model().vocabSize(), BATCH_SIZE, MAX_PENDING);
  }

  /** The same with another vocabulary. */
  public Limits withVocabSize(int size) {
    return new Limits(size, batchSize, maxPending);
  }

  /** The same with another batch size. */
  public Limits withBatchSize(int size) {
    return new Limits(vocabSize, size, maxPending);
  }

  /** The same with another bound on waiting rows. */
  public Limits withMaxPending(int count) {
    return new Limits(vocabSize, batchSize, count);
  }
}
