package org.eellm.distributed;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.IntFunction;
import java.util.function.Supplier;
import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.AllreduceOptions;
import org.bytedeco.pytorch.Backend;
import org.bytedeco.pytorch.BroadcastOptions;
import org.bytedeco.pytorch.ReduceOp;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.Work;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/** A group over one of c10d's process groups. */
final class BackendCommunicator implements Communicator {
  /** Tags above are Gloo's collectives of our own, and {@link GlooBackend#ABORT_TAG}. */
  private static final int MAX_TAG = (1 << 30) - 1;

  private static final int REDUCE_SCATTER_TAG = MAX_TAG + 1;
  private static final int ALL_GATHER_TAG = MAX_TAG + 2;

  private final RankGroup group;
  private final Mesh mesh;
  private final ProcessGroupBackend engine;
  private final HeartbeatMonitor watch;
  private final Duration timeout;
  private final Backend backend;
  private final Set<StartedWork> started = ConcurrentHashMap.newKeySet();
  private volatile boolean broken;
  private volatile boolean closed;

  /** Connects a group; all its members do. */
  BackendCommunicator(
      RankGroup group,
      Mesh mesh,
      ProcessGroupBackend engine,
      HeartbeatMonitor watch,
      RendezvousStore store,
      Duration timeout) {
    this.group = group;
    this.mesh = mesh;
    this.engine = engine;
    this.watch = watch;
    this.timeout = timeout;
    this.backend = connect(store);
  }

  private Backend connect(RendezvousStore store) {
    Operation connecting = new Operation("connection", 0, "over " + group.name());
    long began = System.nanoTime();
    watch.begin(connecting);
    try {
      return engine.group(store.prefixStore(group.key()), group.rank(), group.size());
    } catch (RuntimeException e) {
      throw watch.explain(connecting, began, group.ranks(), e);
    } finally {
      watch.goOn();
    }
  }

  @Override
  public int rank() {
    return group.rank();
  }

  @Override
  public int size() {
    return group.size();
  }

  @Override
  public WorkHandle allReduce(Tensor tensor, Reduction reduction) {
    return start(
        overGroup("all-reduce", tensor),
        group.ranks(),
        () -> {
          AllreduceOptions options = new AllreduceOptions();
          options.reduceOp(
              new ReduceOp(
                  switch (reduction) {
                    case SUM -> ReduceOp.RedOpType.SUM;
                    case MAX -> ReduceOp.RedOpType.MAX;
                    case MIN -> ReduceOp.RedOpType.MIN;
                  }));
          return backend.allreduce(new TensorVector(tensor), options);
        },
        tensor);
  }

  @Override
  public WorkHandle reduceScatter(Tensor out, Tensor in) {
    Operation operation = overGroup("reduce-scatter", in);
    requireParts(operation, out, in);
    return switch (engine) {
      case NcclBackend _ ->
          start(
              operation,
              group.ranks(),
              () -> backend._reduce_scatter_base(out.view(-1), in.view(-1)),
              in,
              out);
      case GlooBackend _ -> directReduceScatter(operation, out, in);
    };
  }

  @Override
  public WorkHandle allGather(Tensor out, Tensor in) {
    Operation operation = overGroup("all-gather", out);
    requireParts(operation, in, out);
    return switch (engine) {
      case NcclBackend _ ->
          start(
              operation,
              group.ranks(),
              () -> backend._allgather_base(out.view(-1), in.view(-1)),
              out,
              in);
      case GlooBackend _ -> directAllGather(operation, out, in);
    };
  }

  /**
   * Sends every part to its owner, who adds up what arrives, in rank order. Gloo's own
   * reduce-scatter is an all-reduce of the whole, which takes the processors two to three times as
   * long.
   */
  private WorkHandle directReduceScatter(Operation operation, Tensor out, Tensor in) {
    RetainedTensors retained = new RetainedTensors();
    try (Scope scope = Scope.open()) {
      Tensor sum = retained.retain(out.view(-1)); // [part]
      Tensor parts = retained.retain(in.view(size(), -1)); // [ranks, part]
      Tensor arrived =
          retained.retain(
              Tensors.empty(Tensors.scalarType(in), engine.device(), size(), out.numel()));
      List<WorkHandle> moves =
          exchange(
              operation,
              REDUCE_SCATTER_TAG,
              peer -> parts.select(0, peer),
              peer -> arrived.select(0, peer));
      return new PeerExchange(
          moves,
          retained,
          () -> {
            Tensor mine = parts.select(0, rank());
            if (size() == 2) { // Without a copy of this rank's part.
              torch.add_out(sum, mine, arrived.select(0, 1 - rank()));
            } else {
              arrived.select(0, rank()).copy_(mine);
              torch.sum_out(sum, arrived, 0);
            }
          });
    }
  }

  /** Sends this rank's part to everyone: half the work of Gloo's ring, which forwards parts. */
  private WorkHandle directAllGather(Operation operation, Tensor out, Tensor in) {
    try (Scope scope = Scope.open()) {
      Tensor part = in.view(-1);
      Tensor parts = out.view(size(), -1); // [ranks, part]
      parts.select(0, rank()).copy_(part);
      List<WorkHandle> moves =
          exchange(operation, ALL_GATHER_TAG, _ -> part, peer -> parts.select(0, peer));
      return new PeerExchange(moves, new RetainedTensors(), () -> {});
    }
  }

  /** Sends a tensor to every other rank, and receives one from each. */
  private List<WorkHandle> exchange(
      Operation operation, int tag, IntFunction<Tensor> outgoing, IntFunction<Tensor> incoming) {
    List<WorkHandle> moves = new ArrayList<>();
    for (int distance = 1; distance < size(); distance++) {
      int from = Math.floorMod(rank() - distance, size());
      int to = (rank() + distance) % size();
      Tensor received = incoming.apply(from);
      Tensor sent = outgoing.apply(to);
      moves.add(
          start(
              operation,
              List.of(group.ranks().get(from)),
              () -> backend.recv(new TensorVector(received), from, tag),
              received));
      moves.add(
          start(
              operation,
              List.of(group.ranks().get(to)),
              () -> backend.send(new TensorVector(sent), to, tag),
              sent));
    }
    return moves;
  }

  @Override
  public WorkHandle broadcast(Tensor tensor, int root) {
    Objects.checkIndex(root, size());
    return start(
        new Operation("broadcast", bytes(tensor), "from " + name(root) + " over " + group.name()),
        group.ranks(),
        () -> {
          BroadcastOptions options = new BroadcastOptions();
          options.rootRank(root);
          return backend.broadcast(new TensorVector(tensor), options);
        },
        tensor);
  }

  @Override
  public WorkHandle send(Tensor tensor, int peer, int tag) {
    requirePeer(peer, tag);
    return start(
        message("send", tensor, "to", peer, tag),
        List.of(group.ranks().get(peer)),
        () -> backend.send(new TensorVector(tensor), peer, tag),
        tensor);
  }

  @Override
  public WorkHandle receive(Tensor into, int peer, int tag) {
    requirePeer(peer, tag);
    return start(
        message("receive", into, "from", peer, tag),
        List.of(group.ranks().get(peer)),
        () -> backend.recv(new TensorVector(into), peer, tag),
        into);
  }

  @Override
  public void barrier() {
    try (Scope scope = Scope.open()) {
      allReduce(Tensors.zeros(ScalarType.Int, engine.device(), 1), Reduction.SUM).await();
    }
  }

  @Override
  public List<byte[]> gatherBytes(byte[] mine) {
    try (Scope scope = Scope.open()) {
      Tensor lengths = Tensors.empty(ScalarType.Long, engine.device(), size());
      Tensor length = Tensors.ofLongs(new long[] {mine.length}, engine.device(), 1);
      allGather(lengths, length).await();
      long[] sizes = Tensors.toLongs(lengths);
      int longest = Math.toIntExact(Math.max(1, Arrays.stream(sizes).max().orElseThrow()));
      Tensor host = Tensors.zeros(ScalarType.Byte, Torch.cpu(), longest);
      Tensors.bytes(host).asByteBuffer().put(mine);
      Tensor all = Tensors.empty(ScalarType.Byte, engine.device(), (long) size() * longest);
      allGather(all, host.to(engine.device(), ScalarType.Byte)).await();
      var bytes = Tensors.bytes(all.to(Torch.cpu(), ScalarType.Byte)).asByteBuffer();
      List<byte[]> result = new ArrayList<>();
      for (int member = 0; member < size(); member++) {
        byte[] its = new byte[Math.toIntExact(sizes[member])];
        bytes.get(member * longest, its);
        result.add(its);
      }
      return result;
    }
  }

  private Operation overGroup(String what, Tensor tensor) {
    return new Operation(what, bytes(tensor), "over " + group.name());
  }

  private Operation message(String what, Tensor tensor, String direction, int peer, int tag) {
    String where = direction + " " + name(peer) + " over " + group.name() + ", tag " + tag;
    return new Operation(what, bytes(tensor), where);
  }

  private String name(int member) {
    return mesh.name(group.ranks().get(member));
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

  private void requireParts(Operation operation, Tensor part, Tensor whole) {
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

  private WorkHandle start(
      Operation operation, List<Integer> peers, Supplier<Work> call, Tensor... tensors) {
    if (closed) {
      throw new DistributedException(operation + ": the group is closed");
    }
    for (Tensor tensor : tensors) {
      if (!tensor.is_contiguous()) {
        throw new DistributedException(operation + ": the tensor has gaps; make it contiguous");
      }
    }
    if (operation.bytes() == 0) {
      return WorkHandle.done();
    }
    RetainedTensors retained = new RetainedTensors();
    try (Scope scope = Scope.open()) {
      Work work = call.get();
      work.retainReference();
      for (Tensor tensor : tensors) {
        retained.retain(tensor);
      }
      StartedWork pending = new StartedWork(operation, peers, work, retained);
      started.add(pending);
      return pending;
    } catch (RuntimeException e) {
      broken = true;
      throw watch.explain(operation, System.nanoTime(), peers, e);
    }
  }

  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    if (broken || !started.isEmpty()) {
      engine.abort(backend); // Or closing would wait for what goes on.
    }
    List.copyOf(started).forEach(StartedWork::free);
    backend.releaseReference();
  }

  private final class StartedWork implements WorkHandle {
    private final Operation operation;
    private final List<Integer> peers;
    private final Work work;
    private final RetainedTensors retained;

    StartedWork(Operation operation, List<Integer> peers, Work work, RetainedTensors retained) {
      this.operation = operation;
      this.peers = peers;
      this.work = work;
      this.retained = retained;
    }

    /** Holds the lock, so that closing frees nothing that a thread still waits in. */
    @Override
    public synchronized void await() {
      if (!started.contains(this)) {
        return;
      }
      long began = System.nanoTime();
      watch.begin(operation);
      try (Milliseconds limit = new Milliseconds(timeout.toMillis())) {
        work._wait(limit);
      } catch (RuntimeException e) {
        if (closed) {
          throw new DistributedException(operation + ": the group has been closed", e);
        }
        broken = true;
        throw watch.explain(operation, began, peers, e);
      } finally {
        watch.goOn();
        free();
      }
    }

    private synchronized void free() {
      if (started.remove(this)) {
        retained.close();
        work.releaseReference();
      }
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
