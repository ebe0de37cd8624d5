package org.eellm.distributed.collective;

import java.time.Duration;
import java.util.concurrent.atomic.AtomicInteger;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.AllreduceOptions;
import org.bytedeco.pytorch.Backend;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.GlooDeviceVector;
import org.bytedeco.pytorch.ProcessGroupGloo;
import org.bytedeco.pytorch.Store;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.Work;
import org.eellm.distributed.rendezvous.RendezvousStore;
import org.eellm.tensor.Scope;

/**
 * Gloo that behaves as NCCL does, as far as a CPU can: collectives are the library's own, an
 * operation ends with its result or when its group is aborted and never by itself, and waits are
 * counted by their kind.
 */
public final class StreamBackend implements ProcessGroupBackend {
  private static final Duration NEVER = Duration.ofHours(24);

  private final GlooBackend gloo;
  private final org.bytedeco.pytorch.gloo.Device network;
  private final Calls calls;

  /**
   * How often the ranks of this process have waited, with a limit and without, and ended groups.
   */
  public record Calls(
      AtomicInteger limitedWaits,
      AtomicInteger unlimitedWaits,
      AtomicInteger scattersDuringGathers,
      AtomicInteger shutdowns,
      AtomicInteger aborts) {
    /** None yet. */
    public static Calls none() {
      return new Calls(
          new AtomicInteger(),
          new AtomicInteger(),
          new AtomicInteger(),
          new AtomicInteger(),
          new AtomicInteger());
    }
  }

  private StreamBackend(RendezvousStore store, Calls calls) {
    this.gloo = new GlooBackend(store);
    this.network = ProcessGroupGloo.createDeviceForHostname(store.localAddress());
    this.network.retainReference();
    this.calls = calls;
  }

  /** Connects groups of this kind, whose calls are added to {@code calls}. */
  public static CommunicatorFactory factory(RendezvousStore store, Calls calls) {
    return new CommunicatorFactory(new StreamBackend(store, calls), false, store);
  }

  @Override
  public Device device() {
    return gloo.device();
  }

  @Override
  public Backend group(Store store, int rank, int size) {
    try (Scope scope = Scope.open()) {
      ProcessGroupGloo.Options options =
          new ProcessGroupGloo.Options(new Milliseconds(NEVER.toMillis()));
      options.threads(1);
      options.devices(new GlooDeviceVector(network));
      Backend group = new CountedGroup(store, rank, size, options);
      group.retainReference();
      return group;
    }
  }

  @Override
  public void shutdown(Backend group) {
    calls.shutdowns().incrementAndGet();
    gloo.shutdown(group);
  }

  @Override
  public void abort(Backend group) {
    calls.aborts().incrementAndGet();
    gloo.abort(group);
  }

  @Override
  public void close() {
    network.releaseReference();
    gloo.close();
  }

  private final class CountedGroup extends ProcessGroupGloo {
    private final AtomicInteger gathers = new AtomicInteger(); // under way

    CountedGroup(Store store, int rank, int size, Options options) {
      super(store, rank, size, options);
    }

    @Override
    public Work allreduce(TensorVector tensors, AllreduceOptions options) {
      return new CountedWork(super.allreduce(tensors, options), new AtomicInteger());
    }

    @Override
    public Work _allgather_base(Tensor out, Tensor in) {
      gathers.incrementAndGet();
      return new CountedWork(super._allgather_base(out, in), gathers);
    }

    @Override
    public Work _reduce_scatter_base(Tensor out, Tensor in) {
      if (gathers.get() > 0) {
        calls.scattersDuringGathers().incrementAndGet();
      }
      return new CountedWork(super._reduce_scatter_base(out, in), new AtomicInteger());
    }

    @Override
    public Work send(TensorVector tensors, int peer, int tag) {
      return new CountedWork(super.send(tensors, peer, tag), new AtomicInteger());
    }

    @Override
    public Work recv(TensorVector tensors, int peer, int tag) {
      return new CountedWork(super.recv(tensors, peer, tag), new AtomicInteger());
    }
  }

  private final class CountedWork extends Work {
    private final AtomicInteger underWay; // less one when this has been awaited

    CountedWork(Pointer work, AtomicInteger underWay) {
      super(work);
      this.underWay = underWay;
    }

    @Override
    public boolean _wait() {
      calls.unlimitedWaits().incrementAndGet();
      underWay.decrementAndGet();
      return super._wait();
    }

    @Override
    public boolean _wait(Milliseconds limit) {
      calls.limitedWaits().incrementAndGet();
      return super._wait(limit);
    }
  }
}
