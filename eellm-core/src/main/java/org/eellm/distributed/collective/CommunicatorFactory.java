package org.eellm.distributed.collective;

import java.util.List;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import org.bytedeco.pytorch.Device;
import org.eellm.distributed.memory.SharedMessages;
import org.eellm.distributed.mesh.RankGroup;
import org.eellm.distributed.rendezvous.HeartbeatMonitor;
import org.eellm.distributed.rendezvous.Operation;
import org.eellm.distributed.rendezvous.RendezvousStore;

/** Connects the groups of a rank. */
public final class CommunicatorFactory implements AutoCloseable {
  private final boolean overMemory;
  private final RendezvousStore store;
  private final ProcessGroupBackend engine;

  /**
   * Of each group: one who waits goes on with all of them, as another rank may wait for them before
   * it sends what this one waits for. Safe for several threads.
   */
  private final List<SharedMessages> messages = new CopyOnWriteArrayList<>();

  /**
   * Connects groups whose ranks meet at {@code store}.
   *
   * @param localRank this rank's number on its machine, which is that of its GPU
   */
  public CommunicatorFactory(DistributedBackend backend, RendezvousStore store, int localRank) {
    this(
        switch (backend) {
          case CPU, GLOO -> new GlooBackend(store);
          case NCCL -> new NcclBackend(localRank, store.timeout());
        },
        backend == DistributedBackend.CPU,
        store);
  }

  CommunicatorFactory(ProcessGroupBackend engine, boolean overMemory, RendezvousStore store) {
    this.engine = engine;
    this.overMemory = overMemory;
    this.store = store;
  }

  /** Where tensors have to be. */
  public Device device() {
    return engine.device();
  }

  /**
   * Connects a group; all its members call this.
   *
   * @param watch says who is to blame if an operation fails
   */
  public Communicator connect(RankGroup group, HeartbeatMonitor watch) {
    Operation connecting = new Operation("connection", 0, "over " + group.name());
    long began = System.nanoTime();
    watch.begin(connecting);
    try {
      Optional<Communicator> sharing =
          overMemory
              ? SharedMemoryCommunicator.connect(group, device(), store, watch, messages)
              : Optional.empty();
      return sharing.orElseGet(() -> new BackendCommunicator(group, engine, watch, store));
    } catch (RuntimeException e) {
      throw watch.explain(connecting, began, group.ranks(), e);
    } finally {
      watch.goOn();
    }
  }

  @Override
  public void close() {
    engine.close();
  }
}
