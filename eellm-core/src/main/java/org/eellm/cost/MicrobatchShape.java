package org.eellm.cost;

import java.util.stream.LongStream;
import org.eellm.config.DataType;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig.Device;

/**
 * The sizes of a microbatch's tensors on one rank, and which operations work on them.
 *
 * @param tokens n, of the microbatch
 * @param rows of the stream that the rank holds: n, or its part with sequence parallelism
 * @param hidden width of the stream
 * @param query width of this rank's queries
 * @param keyValue width of its keys and values together
 * @param inner width of what the MLP's first matrix gives
 * @param active width of what its last one takes
 * @param vocabulary this rank's rows of an output matrix
 * @param scores attention scores of its heads, as far as they are computed
 * @param blockScores those of the largest block of queries
 * @param blocks blocks of queries
 * @param bytes of an element
 * @param fused whether eellm's own kernels do the elementwise work: in bfloat16 on the CPU
 * @param ranks that share the matrices
 */
public record MicrobatchShape(
    long tokens,
    long rows,
    long hidden,
    long query,
    long keyValue,
    long inner,
    long active,
    long vocabulary,
    long scores,
    long blockScores,
    long blocks,
    int bytes,
    boolean fused,
    int ranks) {

  /** Queries of a block, at least, and the most blocks of a sequence, as attention has them. */
  private static final long BLOCK = 128;

  private static final long MAX_BLOCKS = 16;

  /** Largest float32 size of the logits that a head computes at a time. */
  private static final long HEAD_BYTES = 64L << 20;

  static MicrobatchShape of(RunConfig config, Device device) {
    ModelConfig model = config.model();
    int ranks = config.parallel().tp();
    long batch = config.train().microBatchSize();
    long sequence = config.data().sequenceLength();
    long tokens = batch * sequence;
    long heads = model.numHeads() / ranks;
    long active = model.ffnHiddenSize() / ranks;
    long blocks = Math.clamp(sequence / BLOCK, 1, MAX_BLOCKS);
    long length = Math.ceilDiv(sequence, blocks);
    long pairs =
        LongStream.range(0, Math.ceilDiv(sequence, length))
            .map(
                i -> Math.min(length, sequence - i * length) * Math.min((i + 1) * length, sequence))
            .sum();
    return new MicrobatchShape(
        tokens,
        config.parallel().sequenceParallel() ? tokens / ranks : tokens,
        model.hiddenSize(),
        heads * model.headDim(),
        2L * model.numKeyValueHeads() / ranks * model.headDim(),
        model.activation() == Activation.SWIGLU ? 2 * active : active,
        active,
        model.vocabSize() / ranks,
        batch * heads * pairs,
        batch * heads * length * sequence,
        Math.ceilDiv(sequence, length),
        model.dtype().bytes(),
        device == Device.CPU && model.dtype() == DataType.BFLOAT16,
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

  /** Tokens whose logits a head computes at a time. */
  long headTokens() {
    return Math.min(tokens, Math.max(16, HEAD_BYTES / (4 * vocabulary)));
  }

  boolean sharesRows() {
    return rows < tokens;
  }
}
