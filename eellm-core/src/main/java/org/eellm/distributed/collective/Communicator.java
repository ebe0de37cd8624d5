package org.eellm.distributed.collective;

import java.nio.charset.StandardCharsets;
import java.util.List;
import org.bytedeco.pytorch.Tensor;

/**
 * A group of ranks that talk to each other. Every member calls the same collectives in the same
 * order with the same shapes; sends and receives are matched by peer and tag.
 *
 * <p>Tensors are contiguous, in float32, bfloat16, float64, int32, int64 or uint8, and live on the
 * world's device. Operations start when called and go on in the background: see {@link WorkHandle}.
 * A communicator is used by one thread at a time; but other threads may {@link #send} and {@link
 * #receive} meanwhile.
 */
public interface Communicator extends AutoCloseable {
  /** This rank's place in the group. */
  int rank();

  /** Ranks in the group. */
  int size();

  /**
   * Replaces {@code tensor} with the reduction of all ranks' tensors, the same bits on each. With
   * three and more ranks and many values, the others' operation may end only after this rank has
   * awaited its own.
   */
  WorkHandle allReduce(Tensor tensor, Reduction reduction);

  /**
   * Sums the ranks' inputs and leaves each rank with its part: between CPUs in rank order, bfloat16
   * in float32; NCCL has an order of its own, and rounds each sum of two.
   *
   * @param out receives this rank's part: the {@link #rank}-th of {@link #size} equal parts.
   *     Perhaps written from the start of the operation on; it overlaps nothing of {@code in} but
   *     this rank's part
   * @param in as many values as all parts together, cut along dimension 0; unchanged, unless {@code
   *     out} is this rank's part of it
   */
  WorkHandle reduceScatter(Tensor out, Tensor in);

  /**
   * Joins the ranks' tensors, in rank order along dimension 0, on every rank.
   *
   * @param out as large as all inputs together
   * @param in of the same size on every rank, may be this rank's part of {@code out}; unchanged
   */
  WorkHandle allGather(Tensor out, Tensor in);

  /**
   * Sends {@code tensor} to the group's rank {@code peer}, which receives as many bytes.
   *
   * @param tag tells messages to the same peer apart, so that they may be received in any order: 0
   *     to 2^30 - 1. On a GPU, messages to a peer are received in the order they were sent
   */
  WorkHandle send(Tensor tensor, int peer, int tag);

  /** Receives what the group's rank {@code peer} sends with {@code tag}. */
  WorkHandle receive(Tensor into, int peer, int tag);

  /** Waits until every rank of the group is here. */
  void barrier();

  /** All ranks' bytes in rank order, for small things of any length. */
  List<byte[]> gatherBytes(byte[] mine);

  /** All ranks' texts in rank order. */
  default List<String> gatherTexts(String mine) {
    return gatherBytes(mine.getBytes(StandardCharsets.UTF_8)).stream()
        .map(bytes -> new String(bytes, StandardCharsets.UTF_8))
        .toList();
  }

  /** The sum over all ranks of each value, for a few of them. */
  double[] sum(double... values);

  /** Ends the group; operations still under way are given up. */
  @Override
  void close();

  /** The group of a single rank, where nothing has to be sent. */
  static Communicator singleRank() {
    return new SingleRankCommunicator();
  }
}
