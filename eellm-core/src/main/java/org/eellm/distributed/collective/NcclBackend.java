package org.eellm.distributed.collective;

import java.time.Duration;
import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.Backend;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Store;
import org.bytedeco.pytorch.global.torch_cuda;
import org.bytedeco.pytorch.global.torch_nccl;
import org.bytedeco.pytorch.nccl.ProcessGroupNCCL;
import org.eellm.distributed.DistributedException;
import org.eellm.tensor.NativeLibraries;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Torch;

/** NCCL, between NVIDIA GPUs: each rank has the GPU of its local number. */
final class NcclBackend implements ProcessGroupBackend {
  private final Duration timeout;
  private final Device gpu;

  /**
   * Takes a GPU for the calling thread.
   *
   * @param localRank the rank's number on its machine
   */
  NcclBackend(int localRank, Duration timeout) {
    this.timeout = timeout;
    int gpus = Torch.cudaDevices();
    if (localRank >= gpus) {
      throw new DistributedException(
          "local rank "
              + localRank
              + " has no GPU: this machine has "
              + gpus
              + "; start as many ranks a machine as it has GPUs, or use the device cpu");
    }
    NativeLibraries.load(torch_nccl.class);
    torch_cuda.set_device((byte) localRank);
    gpu = new Device("cuda:" + localRank);
    gpu.retainReference(); // Or a scope around this call would free it.
  }

  @Override
  public Device device() {
    return gpu;
  }

  @Override
  public Backend group(Store store, int rank, int size) {
    try (Scope scope = Scope.open()) {
      ProcessGroupNCCL.Options options = new ProcessGroupNCCL.Options();
      ProcessGroupNCCL group = new ProcessGroupNCCL(store, rank, size, options);
      // c10d's own watchdog kills the process without a word: ours comes first.
      group.setTimeout(new Milliseconds(2 * timeout.toMillis()));
      group.setBoundDeviceId(new org.bytedeco.pytorch.DeviceOptional(gpu));
      group.retainReference();
      return group;
    }
  }

  @Override
  public void shutdown(Backend group) {
    group.shutdown();
  }

  @Override
  public void abort(Backend group) {
    group.abort();
  }

  @Override
  public void close() {
    gpu.releaseReference();
  }
}
