package org.eellm.distributed.collective;

import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;
import org.bytedeco.pytorch.AllreduceOptions;
import org.bytedeco.pytorch.Backend;
import org.bytedeco.pytorch.ReduceOp;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.Work;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.mesh.RankGroup;
import org.eellm.distributed.rendezvous.HeartbeatMonitor;
import org.eellm.distributed.rendezvous.Operation;
import org.eellm.distributed.rendezvous.RendezvousStore;
import org.eellm.distributed.rendezvous.Watched;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Torch;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A group over one of c10d's process groups. Waits have no limit: c10d orders such a wait on a
 * GPU's stream, and holds up the host for any other. The {@link HeartbeatMonitor} ends those that
 * take too long.
 */
final class BackendCommunicator extends PeerCommunicator implements Watched {
  private static final Logger LOG = LoggerFactory.getLogger(BackendCommunicator.class);

  private final ProcessGroupBackend engine;
  private final HeartbeatMonitor watch;
  private final Backend backend;
  private final Set<StartedWork> started = ConcurrentHashMap.newKeySet();
  private volatile boolean broken;
  private volatile boolean closed;
  private boolean aborted;
  private boolean released;

  /** Connects a group; all its members do. */
  BackendCommunicator(
      RankGroup group, ProcessGroupBackend engine, HeartbeatMonitor watch, RendezvousStore store) {
    super(group, engine.device());
    this.engine = engine;
    this.watch = watch;
    this.backend = engine.group(store.prefixStore(group.key()), group.rank(), group.size());
    watch.watch(this);
  }

  @Override
  public WorkHandle allReduce(Tensor tensor, Reduction reduction) {
    Operation operation = overGroup("all-reduce", tensor);
    requireContiguous(operation, tensor);
    return start(
        operation,
        group().ranks(),
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

  /**
   * {@inheritDoc}
   *
   * <p>Gloo's own reduce-scatter is an all-reduce of the whole, which takes the processors two to
   * three times as long as messages.
   */
  @Override
  public WorkHandle reduceScatter(Tensor out, Tensor in) {
    if (engine instanceof GlooBackend) {
      return super.reduceScatter(out, in);
    }
    Operation operation = overGroup("reduce-scatter", in);
    requireParts(operation, out, in);
    return start(
        operation,
        group().ranks(),
        () -> backend._reduce_scatter_base(out.view(-1), in.view(-1)),
        in,
        out);
  }

  /**
   * {@inheritDoc}
   *
   * <p>Messages are half the work of Gloo's ring, which forwards parts.
   */
  @Override
  public WorkHandle allGather(Tensor out, Tensor in) {
    if (engine instanceof GlooBackend) {
      return super.allGather(out, in);
    }
    Operation operation = overGroup("all-gather", out);
    requireParts(operation, in, out);
    return start(
        operation,
        group().ranks(),
        () -> backend._allgather_base(out.view(-1), in.view(-1)),
        out,
        in);
  }

  @Override
  WorkHandle startSend(Operation operation, Tensor tensor, int peer, int tag) {
    return start(
        operation,
        List.of(group().ranks().get(peer)),
        () -> backend.send(new TensorVector(tensor), peer, tag),
        tensor);
  }

  @Override
  WorkHandle startReceive(Operation operation, Tensor into, int peer, int tag) {
    return start(
        operation,
        List.of(group().ranks().get(peer)),
        () -> backend.recv(new TensorVector(into), peer, tag),
        into);
  }

  private WorkHandle start(
      Operation operation, List<Integer> peers, Supplier<Work> call, Tensor... tensors) {
    if (closed) {
      throw new DistributedException(operation + ": the group is closed");
    }
    requireWhole(operation, peers);
    if (operation.bytes() == 0) {
      return WorkHandle.done();
    }
    try (Scope scope = Scope.open()) {
      Work work = call.get();
      work.retainReference();
      StartedWork pending = new StartedWork(operation, peers, work, new RetainedTensors(tensors));
      started.add(pending);
      return pending;
    } catch (RuntimeException e) {
      broken = true;
      throw watch.explain(operation, System.nanoTime(), peers, e);
    }
  }

  /** What a GPU computes after operations that were broken off is of no use. */
  private void requireWhole(Operation operation, List<Integer> peers) {
    if (broken) {
      throw watch.explain(
          operation, System.nanoTime(), peers, new DistributedException("the group has ended"));
    }
  }

  @Override
  void requireWhole(Operation operation) {
    requireWhole(operation, group().ranks());
  }

  @Override
  public Optional<Awaited> longestAwaited() {
    started.forEach(StartedWork::freeIfDone);
    return started.stream()
        .flatMap(work -> work.awaited.stream())
        .min((a, b) -> Long.signum(a.since() - b.since()));
  }

  @Override
  public synchronized void abort() {
    broken = true;
    if (!aborted && !released) {
      aborted = true;
      try {
        engine.abort(backend);
      } catch (RuntimeException e) {
        LOG.warn("{} cannot be broken off: {}", group().name(), Torch.firstLine(e));
      }
    }
  }

  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    if (broken || started.stream().anyMatch(work -> work.awaited.isEmpty())) {
      abort(); // Or closing would wait for what goes on.
    } else {
      engine.shutdown(backend); // The monitor ends this, too, if another rank is lost.
    }
    watch.unwatch(this);
    List.copyOf(started).forEach(StartedWork::free);
    synchronized (this) {
      released = true;
      backend.releaseReference();
    }
  }

  private final class StartedWork implements WorkHandle {
    private final Operation operation;
    private final List<Integer> peers;
    private final Work work;
    private final RetainedTensors retained;
    private volatile Optional<Awaited> awaited = Optional.empty();
    private volatile boolean waiting;

    StartedWork(Operation operation, List<Integer> peers, Work work, RetainedTensors retained) {
      this.operation = operation;
      this.peers = peers;
      this.work = work;
      this.retained = retained;
    }

    /** Holds the lock, so that closing frees nothing that a thread still waits in. */
    @Override
    public synchronized void await() {
      if (awaited.isPresent() || !started.contains(this)) {
        return;
      }
      long began = System.nanoTime();
      waiting = true;
      awaited = Optional.of(new Awaited(operation, peers, began));
      watch.begin(operation);
      try {
        work._wait();
      } catch (RuntimeException e) {
        free();
        if (closed) {
          throw new DistributedException(operation + ": the group has been closed", e);
        }
        broken = true;
        throw watch.explain(operation, began, peers, e);
      } finally {
        watch.goOn();
        waiting = false;
        retained.close();
      }
      freeIfDone(); // which on a GPU may come later
    }

    private void freeIfDone() {
      if (awaited.isPresent() && !waiting) {
        synchronized (this) {
          if (started.contains(this) && work.isCompleted()) {
            free();
          }
        }
      }
    }

    private synchronized void free() {
      if (started.remove(this)) {
        retained.close();
        work.releaseReference();
      }
    }
  }
}
