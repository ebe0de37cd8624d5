package org.eellm.decode.request;

import java.io.Serializable;
import org.eellm.config.DataType;
import org.eellm.config.ModelConfig;
import org.eellm.config.SettingException;
import org.eellm.config.StageLayout.Slice;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.head.Vocabulary;
import org.eellm.distributed.launch.RankInfo;
import org.eellm.kernel.machine.MachineMemory;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;

/**
 * Bounds of generation that change speed and memory, but no text; apart from the vocabulary's size.
 *
 * @param vocabulary ids that may be generated, and those that exits draft from
 * @param batchSize running sequences at once; further requests wait until one is done
 * @param maxPending how many hidden states of a sequence may wait at an exit for the layers above,
 *     before they go on though nobody needs them yet
 * @param cacheTokens positions of all sequences together whose keys and values have room; further
 *     requests wait
 * @param maxQueued requests that may wait; an engine refuses more
 */
public record Limits(
    Vocabulary vocabulary, int batchSize, int maxPending, int cacheTokens, int maxQueued)
    implements Serializable {
  /** Running sequences at once by default. */
  public static final int BATCH_SIZE = 8;

  /**
   * Waiting rows by default. A block of 32 rows passes the upper layers in about the time of three
   * single rows on a CPU, so filling costs a tenth of a full pass per token, and no token waits
   * long.
   */
  public static final int MAX_PENDING = 32;

  /** Requests that may wait by default. */
  public static final int MAX_QUEUED = 1024;

  private static final int CACHE_TEXTS = 16;

  /** Bytes of keys and values that the default number of positions takes at most. */
  private static final long CACHE_BYTES = 4L << 30;

  public Limits {
    require(batchSize >= 1, "batch-size", batchSize);
    require(maxPending >= 1, "max-pending", maxPending);
    require(cacheTokens >= 1, "cache-tokens", cacheTokens);
    require(maxQueued >= 1, "max-queued", maxQueued);
  }

  private static void require(boolean condition, String name, int value) {
    if (!condition) {
      throw new SettingException(name, value + " is below 1; use 1 or more");
    }
  }

  /**
   * The defaults for a model, all of whose vocabulary may be generated. There is room for 16 texts
   * as long as the model's context, or for as many positions as fit 4 GiB, but for one such text
   * where the memory suffices. Where it does not, there is less room: as much as the machine, or
   * the container, has beside the model's weights and Java's heap.
   */
  public static Limits of(DecodingModel model) {
    ModelConfig shape = model.architecture().model();
    return new Limits(
        Vocabulary.of(shape.vocabSize()), BATCH_SIZE, MAX_PENDING, cacheTokens(model), MAX_QUEUED);
  }

  private static int cacheTokens(DecodingModel model) {
    ModelConfig shape = model.architecture().model();
    int context = Math.ceilDiv(shape.maxPositions(), ModelRunner.PAGE) * ModelRunner.PAGE;
    long texts = (long) CACHE_TEXTS * context;
    long wanted = Math.max(context, Math.min(texts, CACHE_BYTES / positionBytes(model)));
    // Where not even a page fits, requireMemory says so.
    return (int) Math.max(ModelRunner.PAGE, Math.min(wanted, fitting(model)));
  }

  /**
   * Positions that there is memory for, less a tenth: other buffers come and go, and ranks of a
   * machine are not quite alike.
   */
  private static long fitting(DecodingModel model) {
    return (long) (0.9 * memoryLeft() / positionBytes(model));
  }

  private static long memoryLeft() {
    int ranks = RankInfo.detect(System.getenv()).orElse(RankInfo.ALONE).localWorldSize();
    return MachineMemory.left(ranks);
  }

  /** Bytes of a position's keys and values in all layers and exits that are here. */
  private static long positionBytes(DecodingModel model) {
    ModelConfig shape = model.architecture().model().shard(model.parallel().size());
    long attentions =
        model.slices().stream().mapToInt(Slice::layers).sum()
            + model.headsHere().stream().filter(Head::hasAttention).count()
            + model.draftHead().stream().count();
    int head =
        switch (model.quantization().cache()) {
          case NONE -> shape.headDim() * (shape.dtype() == DataType.FLOAT32 ? 4 : 2);
          case INT8, INT4 -> shape.headDim() + Float.BYTES; // and a scale
        };
    return 2 * attentions * shape.numKeyValueHeads() * head;
  }

  /**
   * Refuses room for keys and values that there is no memory for.
   *
   * @throws SettingException that says how much room there may be
   */
  public void requireMemory(DecodingModel model) {
    double bytes = (double) cacheTokens * positionBytes(model);
    long left = memoryLeft();
    if (bytes > left) {
      long fitting = fitting(model);
      throw new SettingException(
          "cache-tokens",
          "%d positions take %.1f GB of keys and values, and weights and Java's heap leave %.1f of the machine's %.1f GB; %s"
              .formatted(
                  cacheTokens,
                  bytes / 1e9,
                  Math.max(0, left) / 1e9,
                  MachineMemory.bytes() / 1e9,
                  fitting >= ModelRunner.PAGE
                      ? "use %d or fewer".formatted(fitting)
                      : "use weights of fewer bits, or give Java a smaller heap with"
                          + " EELLM_JAVA_OPTS=-Xmx256m"));
    }
  }

  public Limits withVocabulary(Vocabulary vocabulary) {
    return new Limits(vocabulary, batchSize, maxPending, cacheTokens, maxQueued);
  }

  public Limits withBatchSize(int size) {
    return new Limits(vocabulary, size, maxPending, cacheTokens, maxQueued);
  }

  /** A copy with another bound on waiting rows. */
  public Limits withMaxPending(int count) {
    return new Limits(vocabulary, batchSize, count, cacheTokens, maxQueued);
  }

  public Limits withCacheTokens(int count) {
    return new Limits(vocabulary, batchSize, maxPending, count, maxQueued);
  }

  /** A copy with another bound on waiting requests. */
  public Limits withMaxQueued(int count) {
    return new Limits(vocabulary, batchSize, maxPending, cacheTokens, count);
  }
}
