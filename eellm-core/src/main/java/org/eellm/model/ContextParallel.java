package org.eellm.model;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.distributed.collective.Communicator;
import org.eellm.tensor.Torch;
import org.eellm.tensor.kernel.KeyedDropout;

/**
 * The sharing out of sequences: of a sequence in {@code 2 size} blocks, rank r has block r and
 * block {@code 2 size - 1 - r}, one after the other. So each has as many tokens, and as many
 * earlier ones for them to attend to. Only attention looks beyond a token: see {@link
 * RingAttention}.
 *
 * @param group ranks that share sequences
 */
public record ContextParallel(Communicator group) {

  /** One rank that has whole sequences. */
  public static ContextParallel singleRank() {
    return new ContextParallel(Communicator.singleRank());
  }

  public int size() {
    return group.size();
  }

  /** How many of {@code tokens} tokens of whole sequences a rank has. */
  public long local(long tokens) {
    return tokens / size();
  }

  /** Which block of a sequence is a rank's first, or its second. */
  long block(int rank, int half) {
    return half == 0 ? rank : 2L * size() - 1 - rank;
  }

  /** What is this rank's of something that every token has: [b S, ...] to [b s, ...]. */
  public Tensor local(Tensor all, long sequences) {
    if (size() == 1) {
      return all;
    }
    Tensor rows =
        torch
            .arange(new Scalar(all.size(0)), Torch.options(ScalarType.Long, all.device()))
            .view(sequences, 2L * size(), -1);
    Tensor[] own = new Tensor[2];
    for (int half = 0; half < own.length; half++) {
      own[half] = rows.narrow(1, block(group.rank(), half), 1);
    }
    return all.index_select(0, torch.cat(new TensorVector(own), 1).view(-1));
  }

  /**
   * Where this rank's tokens are among those of whole sequences.
   *
   * @param skipped of this rank's tokens, at the beginning
   * @param sequence s, tokens of each sequence here
   */
  KeyedDropout.Place place(long skipped, long sequence) {
    if (size() == 1) {
      return new KeyedDropout.Place(skipped, 0, sequence, 0, 1, sequence, 0);
    }
    long length = sequence / 2;
    long first = block(group.rank(), 0);
    return new KeyedDropout.Place(
        skipped,
        first * length,
        length,
        (block(group.rank(), 1) - first) * length,
        2,
        sequence * size(),
        0);
  }
}
