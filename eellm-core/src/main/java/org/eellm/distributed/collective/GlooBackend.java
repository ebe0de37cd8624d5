package org.eellm.distributed.collective;

import java.time.Duration;
import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.Backend;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.GlooDeviceVector;
import org.bytedeco.pytorch.ProcessGroupGloo;
import org.bytedeco.pytorch.Store;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.Work;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.distributed.rendezvous.RendezvousStore;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/** Gloo, over TCP between CPUs; between threads of one process as well. */
final class GlooBackend implements ProcessGroupBackend {
  /** One thread for collectives a group: they are done in the order they were started. */
  private static final int THREADS = 1;

  /** Of a message that nobody sends. */
  static final int ABORT_TAG = Integer.MAX_VALUE;

  private final Duration timeout;
  private final org.bytedeco.pytorch.gloo.Device network;
  private final Device cpu = Torch.cpu();

  /** Gloo on the network interface that leads to the store's host. */
  GlooBackend(RendezvousStore store) {
    this.timeout = store.timeout();
    GlooStdoutFilter.mute();
    network = ProcessGroupGloo.createDeviceForHostname(store.localAddress());
    network.retainReference(); // Or a scope around this call would free it.
    cpu.retainReference();
  }

  @Override
  public Device device() {
    return cpu;
  }

  @Override
  public Backend group(Store store, int rank, int size) {
    try (Scope scope = Scope.open()) {
      // Its limit begins with an operation, ours with the wait for it: ours, with names, is first.
      ProcessGroupGloo.Options options =
          new ProcessGroupGloo.Options(new Milliseconds(2 * timeout.toMillis()));
      options.threads(THREADS);
      options.devices(new GlooDeviceVector(network));
      Backend group = new ProcessGroupGloo(store, rank, size, options);
      group.retainReference();
      return group;
    }
  }

  @Override
  public void shutdown(Backend group) {
    // It has nothing under way then.
  }

  /** A receive that times out makes Gloo close all the group's connections. */
  @Override
  public void abort(Backend group) {
    for (int peer = 0; peer < group.getSize(); peer++) {
      if (peer != group.getRank()) {
        try (Scope scope = Scope.open()) {
          Tensor nothing = Tensors.empty(ScalarType.Byte, cpu, 1);
          Work never = group.recv(new TensorVector(nothing), peer, ABORT_TAG);
          never._wait(new Milliseconds(1));
        } catch (RuntimeException _) {
          // As meant to.
        }
      }
    }
  }

  @Override
  public void close() {
    network.releaseReference();
    cpu.releaseReference();
  }
}
