package org.eellm.distributed.collective;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.function.IntFunction;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.mesh.RankGroup;
import org.eellm.distributed.rendezvous.Operation;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/** A group whose collectives are messages from each member to each other one. */
abstract sealed class PeerCommunicator implements Communicator
    permits BackendCommunicator, SharedMemoryCommunicator {
  /** Tags above are collectives of our own, and {@link GlooBackend#ABORT_TAG}. */
  private static final int MAX_TAG = (1 << 30) - 1;

  private static final int REDUCE_SCATTER_TAG = MAX_TAG + 1;
  private static final int ALL_GATHER_TAG = MAX_TAG + 2;
  private static final int ALL_REDUCE_TAG = MAX_TAG + 3;

  /** All-reduces under way may be awaited in any order, so the sums of each have a tag. */
  private static final int PARTS_TAG = MAX_TAG + 4;

  private static final int PARTS_TAGS = 1 << 20;

  /** Size up to which three and more ranks send each other the whole tensor in an all-reduce. */
  private static final long MAX_WHOLE_BYTES = 1 << 16;

  private final RankGroup group;
  private final Device device;
  private int allReducesInParts;

  PeerCommunicator(RankGroup group, Device device) {
    this.group = group;
    this.device = device;
  }

  /** Starts a message; the tensor is contiguous and not empty. */
  abstract WorkHandle startSend(Operation operation, Tensor tensor, int peer, int tag);

  /** Starts to receive; the tensor is contiguous and not empty. */
  abstract WorkHandle startReceive(Operation operation, Tensor into, int peer, int tag);

  /**
   * Refuses what the host has read after a wait that let it go on before the operation was done.
   *
   * @throws DistributedException if the group was broken off meanwhile
   */
  void requireWhole(Operation operation) {}

  /**
   * Starts to receive values, and adds this rank's; all are contiguous, and not empty.
   *
   * @param sum of what arrives and {@code mine}, may be the latter itself; written until the end
   */
  WorkHandle startReceiveSum(Operation operation, Tensor sum, Tensor mine, int peer, int tag) {
    RetainedTensors retained = new RetainedTensors(sum, mine);
    Tensor arrived = retained.retain(Tensors.empty(Tensors.scalarType(sum), device, sum.numel()));
    return new PeerExchange(
        List.of(startReceive(operation, arrived, peer, tag)),
        retained,
        () -> torch.add_out(sum, mine, arrived));
  }

  @Override
  public final int rank() {
    return group.rank();
  }

  @Override
  public final int size() {
    return group.size();
  }

  final RankGroup group() {
    return group;
  }

  @Override
  public final WorkHandle send(Tensor tensor, int peer, int tag) {
    requirePeer(peer, tag);
    return start(message("send", tensor, "to", peer, tag), tensor, true, peer, tag);
  }

  @Override
  public final WorkHandle receive(Tensor into, int peer, int tag) {
    requirePeer(peer, tag);
    return start(message("receive", into, "from", peer, tag), into, false, peer, tag);
  }

  private WorkHandle start(Operation operation, Tensor tensor, boolean out, int peer, int tag) {
    requireContiguous(operation, tensor);
    if (operation.bytes() == 0) {
      return WorkHandle.done();
    }
    return out
        ? startSend(operation, tensor, peer, tag)
        : startReceive(operation, tensor, peer, tag);
  }

  /**
   * Sends the whole to every other member, each of which reduces what arrives, in rank order; where
   * that would be much, each member reduces a part and sends it to the others.
   */
  @Override
  public WorkHandle allReduce(Tensor tensor, Reduction reduction) {
    Operation operation = overGroup("all-reduce", tensor);
    requireContiguous(operation, tensor);
    boolean inParts = size() > 2 && operation.bytes() > MAX_WHOLE_BYTES;
    int sharing = PARTS_TAG + (inParts ? Math.floorMod(allReducesInParts++, PARTS_TAGS) : 0);
    RetainedTensors retained = new RetainedTensors();
    try (Scope scope = Scope.open()) {
      Tensor whole = retained.retain(tensor.view(-1));
      IntFunction<Tensor> parts = peer -> inParts ? part(whole, peer) : whole;
      Tensor mine = retained.retain(parts.apply(rank()));
      Tensor arrived = retained.retain(places(whole, mine.numel()));
      List<WorkHandle> moves =
          exchange(operation, ALL_REDUCE_TAG, parts, peer -> arrived.select(0, peer));
      return new PeerExchange(
          moves,
          retained,
          () -> {
            reduce(mine, mine, arrived, reduction);
            if (inParts) {
              exchange(operation, sharing, _ -> mine, parts).forEach(WorkHandle::await);
            }
          });
    }
  }

  /** A member's part of [values]: parts differ by one value at most. */
  private Tensor part(Tensor whole, int member) {
    long start = whole.numel() * member / size();
    return whole.narrow(0, start, whole.numel() * (member + 1) / size() - start);
  }

  /** Sends every part to its owner, who adds up what arrives, in rank order. */
  @Override
  public WorkHandle reduceScatter(Tensor out, Tensor in) {
    Operation operation = overGroup("reduce-scatter", in);
    requireParts(operation, out, in);
    RetainedTensors retained = new RetainedTensors();
    try (Scope scope = Scope.open()) {
      Tensor sum = retained.retain(out.view(-1)); // [part]
      Tensor parts = retained.retain(in.view(size(), -1)); // [ranks, part]
      if (size() == 2 && operation.bytes() > 0) {
        int peer = 1 - rank();
        Tensor mine = parts.select(0, rank());
        List<WorkHandle> moves =
            List.of(
                startReceiveSum(operation, sum, mine, peer, REDUCE_SCATTER_TAG),
                startSend(operation, parts.select(0, peer), peer, REDUCE_SCATTER_TAG));
        return new PeerExchange(moves, retained, () -> {});
      }
      Tensor arrived = retained.retain(places(in, out.numel()));
      List<WorkHandle> moves =
          exchange(
              operation,
              REDUCE_SCATTER_TAG,
              peer -> parts.select(0, peer),
              peer -> arrived.select(0, peer));
      return new PeerExchange(
          moves, retained, () -> reduce(sum, parts.select(0, rank()), arrived, Reduction.SUM));
    }
  }

  /** Sends this rank's part to everyone. */
  @Override
  public WorkHandle allGather(Tensor out, Tensor in) {
    Operation operation = overGroup("all-gather", out);
    requireParts(operation, in, out);
    try (Scope scope = Scope.open()) {
      Tensor part = in.view(-1);
      Tensor parts = out.view(size(), -1); // [ranks, part]
      Tensor own = parts.select(0, rank());
      if (operation.bytes() > 0 && !own.data_ptr().equals(part.data_ptr())) {
        own.copy_(part);
      }
      List<WorkHandle> moves =
          exchange(operation, ALL_GATHER_TAG, _ -> part, peer -> parts.select(0, peer));
      return new PeerExchange(moves, new RetainedTensors(), () -> {});
    }
  }

  @Override
  public final void barrier() {
    sum(0);
  }

  @Override
  public final List<byte[]> gatherBytes(byte[] mine) {
    try (Scope scope = Scope.open()) {
      Tensor lengths = Tensors.empty(ScalarType.Long, device, size());
      Tensor length = Tensors.ofLongs(new long[] {mine.length}, device, 1);
      allGather(lengths, length).await();
      long[] sizes = Tensors.toLongs(lengths);
      requireWhole(overGroup("all-gather", lengths));
      int longest = Math.toIntExact(Math.max(1, Arrays.stream(sizes).max().orElseThrow()));
      Tensor host = Tensors.zeros(ScalarType.Byte, Torch.cpu(), longest);
      Tensors.bytes(host).asByteBuffer().put(mine);
      Tensor all = Tensors.empty(ScalarType.Byte, device, (long) size() * longest);
      allGather(all, host.to(device, ScalarType.Byte)).await();
      var bytes = Tensors.bytes(all.to(Torch.cpu(), ScalarType.Byte)).asByteBuffer();
      requireWhole(overGroup("all-gather", all));
      List<byte[]> result = new ArrayList<>();
      for (int member = 0; member < size(); member++) {
        byte[] its = new byte[Math.toIntExact(sizes[member])];
        bytes.get(member * longest, its);
        result.add(its);
      }
      return result;
    }
  }

  @Override
  public final double[] sum(double... values) {
    try (Scope scope = Scope.open()) {
      Tensor sums = Tensors.ofDoubles(values, device, values.length);
      allReduce(sums, Reduction.SUM).await();
      double[] all = Tensors.toDoubles(sums);
      requireWhole(overGroup("all-reduce", sums));
      return all;
    }
  }

  /** For what each member sends: [ranks, values]. */
  private Tensor places(Tensor like, long values) {
    return Tensors.empty(Tensors.scalarType(like), device, size(), values);
  }

  /** Reduces this rank's values and the others', in rank order; sums are rounded once. */
  private void reduce(Tensor result, Tensor mine, Tensor arrived, Reduction reduction) {
    if (reduction == Reduction.SUM) {
      if (size() == 2) { // Without a copy of this rank's values.
        torch.add_out(result, mine, arrived.select(0, 1 - rank()));
      } else {
        arrived.select(0, rank()).copy_(mine);
        torch.sum_out(result, arrived, 0);
      }
      return;
    }
    arrived.select(0, rank()).copy_(mine);
    result.copy_(arrived.select(0, 0));
    for (int peer = 1; peer < size(); peer++) {
      Tensor next = arrived.select(0, peer);
      if (reduction == Reduction.MAX) {
        torch.maximum_out(result, result, next);
      } else {
        torch.minimum_out(result, result, next);
      }
    }
  }

  /** Sends a tensor to every other rank, and receives one from each. */
  private List<WorkHandle> exchange(
      Operation operation, int tag, IntFunction<Tensor> outgoing, IntFunction<Tensor> incoming) {
    List<WorkHandle> moves = new ArrayList<>();
    for (int distance = 1; distance < size(); distance++) {
      int from = Math.floorMod(rank() - distance, size());
      int to = (rank() + distance) % size();
      moves.add(start(operation, incoming.apply(from), false, from, tag));
      moves.add(start(operation, outgoing.apply(to), true, to, tag));
    }
    return moves;
  }

  final Operation overGroup(String what, Tensor tensor) {
    return new Operation(what, bytes(tensor), "over " + group.name());
  }

  private Operation message(String what, Tensor tensor, String direction, int peer, int tag) {
    String where = direction + " " + group.name(peer) + " over " + group.name() + ", tag " + tag;
    return new Operation(what, bytes(tensor), where);
  }

  private static long bytes(Tensor tensor) {
    return tensor.numel() * tensor.element_size();
  }

  private void requirePeer(int peer, int tag) {
    Objects.checkIndex(peer, size());
    if (peer == rank() || tag < 0 || tag > MAX_TAG) {
      throw new DistributedException(
          "message to or from rank %d of %s with tag %d: use another rank, and a tag of 0 to %d"
              .formatted(peer, group.name(), tag, MAX_TAG));
    }
  }

  static void requireContiguous(Operation operation, Tensor tensor) {
    if (!tensor.is_contiguous()) {
      throw new DistributedException(operation + ": the tensor has gaps; make it contiguous");
    }
  }

  final void requireParts(Operation operation, Tensor part, Tensor whole) {
    requireContiguous(operation, part);
    requireContiguous(operation, whole);
    if (whole.numel() != part.numel() * size()
        || Tensors.scalarType(part) != Tensors.scalarType(whole)) {
      throw new DistributedException(
          "%s: %d parts of %d values (%s) are not %d values (%s)"
              .formatted(
                  operation,
                  size(),
                  part.numel(),
                  Tensors.scalarType(part),
                  whole.numel(),
                  Tensors.scalarType(whole)));
    }
  }

  /** An operation made of several; only the first {@link #await} counts. */
  private static final class PeerExchange implements WorkHandle {
    private final List<WorkHandle> moves;
    private final RetainedTensors retained;
    private final Runnable finish;
    private boolean finished;

    /**
     * Waits for {@code moves}, then runs {@code finish}.
     *
     * @param retained what {@code finish} needs
     */
    PeerExchange(List<WorkHandle> moves, RetainedTensors retained, Runnable finish) {
      this.moves = moves;
      this.retained = retained;
      this.finish = finish;
    }

    @Override
    public void await() {
      if (finished) {
        return;
      }
      finished = true;
      try (retained;
          Scope scope = Scope.open()) {
        moves.forEach(WorkHandle::await);
        finish.run();
      }
    }
  }
}
