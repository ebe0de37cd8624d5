package org.eellm.distributed;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.function.Supplier;
import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.AllreduceOptions;
import org.bytedeco.pytorch.Backend;
import org.bytedeco.pytorch.BroadcastOptions;
import org.bytedeco.pytorch.ReduceOp;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.Work;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.tensor.Kept;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/** A group over one of c10d's process groups. */
final class BackendCommunicator implements Communicator {
  private final Group group;
  private final Mesh mesh;
  private final Engine engine;
  private final Watch watch;
  private final Duration timeout;
  private final Backend backend;
  private final Set<Started> started = new HashSet<>();
  private boolean broken;
  private boolean closed;

  /** Connects a group; all its members do. */
  BackendCommunicator(
      Group group, Mesh mesh, Engine engine, Watch watch, Board board, Duration timeout) {
    this.group = group;
    this.mesh = mesh;
    this.engine = engine;
    this.watch = watch;
    this.timeout = timeout;
    this.backend = connect(board);
  }

  private Backend connect(Board board) {
    Operation connecting = new Operation("connection", 0, "over " + group.name());
    long began = System.nanoTime();
    watch.doing(Optional.of(connecting));
    try {
      return engine.group(board.handOver(group.key()), group.rank(), group.size());
    } catch (RuntimeException e) {
      throw watch.explain(connecting, began, group.ranks(), e);
    } finally {
      watch.doing(Optional.empty());
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
  public Pending allReduce(Tensor tensor, Reduction reduction) {
    return start(
        "all-reduce",
        group.ranks(),
        "over " + group.name(),
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
  public Pending reduceScatter(Tensor out, Tensor in) {
    requireParts("reduce-scatter", out, in);
    return start(
        "reduce-scatter",
        group.ranks(),
        "over " + group.name(),
        () -> backend._reduce_scatter_base(out.view(-1), in.view(-1)),
        in,
        out);
  }

  @Override
  public Pending allGather(Tensor out, Tensor in) {
    requireParts("all-gather", in, out);
    return start(
        "all-gather",
        group.ranks(),
        "over " + group.name(),
        () -> backend._allgather_base(out.view(-1), in.view(-1)),
        out,
        in);
  }

  @Override
  public Pending broadcast(Tensor tensor, int root) {
    Objects.checkIndex(root, size());
    return start(
        "broadcast",
        group.ranks(),
        "from " + mesh.name(group.ranks().get(root)) + " over " + group.name(),
        () -> {
          BroadcastOptions options = new BroadcastOptions();
          options.rootRank(root);
          return backend.broadcast(new TensorVector(tensor), options);
        },
        tensor);
  }

  @Override
  public Pending send(Tensor tensor, int peer, int tag) {
    return start(
        "send",
        peers(peer, tag),
        "to " + mesh.name(group.ranks().get(peer)) + " over " + group.name() + ", tag " + tag,
        () -> backend.send(new TensorVector(tensor), peer, tag),
        tensor);
  }

  @Override
  public Pending receive(Tensor into, int peer, int tag) {
    return start(
        "receive",
        peers(peer, tag),
        "from " + mesh.name(group.ranks().get(peer)) + " over " + group.name() + ", tag " + tag,
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

  private List<Integer> peers(int peer, int tag) {
    Objects.checkIndex(peer, size());
    if (peer == rank() || tag < 0) {
      throw new DistributedException(
          "a message to rank "
              + peer
              + " with tag "
              + tag
              + ": send to other ranks, with tags of at least 0");
    }
    return List.of(group.ranks().get(peer));
  }

  private void requireParts(String operation, Tensor part, Tensor whole) {
    if (whole.numel() != part.numel() * size()
        || Tensors.scalarType(part) != Tensors.scalarType(whole)) {
      throw new DistributedException(
          "%s over %s: %d parts of %d values (%s) are not %d values (%s)"
              .formatted(
                  operation,
                  group.name(),
                  size(),
                  part.numel(),
                  Tensors.scalarType(part),
                  whole.numel(),
                  Tensors.scalarType(whole)));
    }
  }

  private Pending start(
      String what, List<Integer> peers, String where, Supplier<Work> call, Tensor... tensors) {
    long bytes = tensors[0].numel() * tensors[0].element_size();
    Operation operation = new Operation(what, bytes, where);
    if (closed) {
      throw new DistributedException(operation + ": the group is closed");
    }
    for (Tensor tensor : tensors) {
      if (!tensor.is_contiguous()) {
        throw new DistributedException(operation + ": the tensor has gaps; make it contiguous");
      }
    }
    if (bytes == 0) {
      return Pending.done();
    }
    Kept kept = new Kept();
    try (Scope scope = Scope.open()) {
      Work work = call.get();
      work.retainReference();
      for (Tensor tensor : tensors) {
        kept.keep(tensor);
      }
      Started pending = new Started(operation, peers, work, kept);
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
    List.copyOf(started).forEach(Started::free);
    backend.releaseReference();
  }

  private final class Started implements Pending {
    private final Operation operation;
    private final List<Integer> peers;
    private final Work work;
    private final Kept kept;

    Started(Operation operation, List<Integer> peers, Work work, Kept kept) {
      this.operation = operation;
      this.peers = peers;
      this.work = work;
      this.kept = kept;
    }

    @Override
    public void await() {
      if (!started.contains(this)) {
        return;
      }
      long began = System.nanoTime();
      watch.doing(Optional.of(operation));
      try (Milliseconds limit = new Milliseconds(timeout.toMillis())) {
        work._wait(limit);
      } catch (RuntimeException e) {
        broken = true;
        throw watch.explain(operation, began, peers, e);
      } finally {
        watch.doing(Optional.empty());
        free();
      }
    }

    private void free() {
      started.remove(this);
      kept.close();
      work.releaseReference();
    }
  }
}
