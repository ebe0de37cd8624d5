package org.eellm.cost;

import org.eellm.config.ModelConfig;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig.Device;

/**
 * The sizes of a microbatch's tensors on one rank, and which operations work on them.
 *
 * @param tokens n, of the microbatch, that are here
 * @param rows of the stream that the rank holds: n, or its part with sequence parallelism
 * @param hidden width of the stream
 * @param heads of queries, this rank's
 * @param query width of this rank's queries
 * @param keyValue width of its keys and values together
 * @param inner width of what the MLP's first matrix gives
 * @param active width of what its last one takes
 * @param vocabulary this rank's rows of an output matrix
 * @param bytes of an element
 * @param ring ranks that share sequences
 * @param device by which it is known what a head computes at a time
 * @param ranks that share the matrices
 */
public record MicrobatchShape(
    long tokens,
    long rows,
    long hidden,
    long heads,
    long query,
    long keyValue,
    long inner,
    long active,
    long vocabulary,
    int bytes,
    int ring,
    Device device,
    int ranks) {

  /**
   * Largest float32 size of the logits that a head computes at a time on a CPU: several such
   * buffers stay in its last cache or near it.
   */
  private static final long CPU_HEAD_BYTES = 64L << 20;

  /** On a GPU, where each part rereads and rewrites the gradient of the output matrix. */
  private static final long GPU_HEAD_BYTES = 512L << 20;

  static MicrobatchShape of(RunConfig config, Device device) {
    ModelConfig model = config.model();
    int ranks = config.parallel().tp();
    long cp = config.parallel().cp();
    long tokens = config.train().microBatchSize() * (config.data().sequenceLength() / cp);
    long heads = model.numHeads() / ranks;
    long active = model.ffnHiddenSize() / ranks;
    return new MicrobatchShape(
        tokens,
        config.parallel().sequenceParallel() ? tokens / ranks : tokens,
        model.hiddenSize(),
        heads,
        heads * model.headDim(),
        2L * model.numKeyValueHeads() / ranks * model.headDim(),
        model.activation().gated() ? 2 * active : active,
        active,
        model.vocabSize() / ranks,
        model.dtype().bytes(),
        (int) cp,
        device,
        ranks);
  }

  /** Bytes of a tensor of the stream's rows and some width. */
  public long ofRows(long width) {
    return rows * width * bytes;
  }

  /** Bytes of a tensor of all the microbatch's tokens and some width. */
  long ofTokens(long width) {
    return tokens * width * bytes;
  }

  /** Bytes of a float32 number of every query of the rank's heads. */
  long perQuery() {
    return tokens * heads * Float.BYTES;
  }

  /** Whether one pass over numbers does what libtorch has several operations for. */
  boolean fused() {
    return device == Device.CPU && bytes < Float.BYTES;
  }

  /** Tokens of this microbatch whose logits a head computes at a time. */
  long headTokens() {
    return Math.min(tokens, headTokens(device, vocabulary));
  }

  /**
   * Tokens whose logits a head computes at a time.
   *
   * @param vocabulary of this rank
   */
  public static long headTokens(Device device, long vocabulary) {
    long bytes = device == Device.CPU ? CPU_HEAD_BYTES : GPU_HEAD_BYTES;
    return Math.max(16, bytes / (4 * vocabulary));
  }

  boolean sharesRows() {
    return rows < tokens;
  }
}
