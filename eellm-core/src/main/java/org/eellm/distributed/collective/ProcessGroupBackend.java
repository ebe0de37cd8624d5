package org.eellm.distributed.collective;

import org.bytedeco.pytorch.Backend;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Store;

/** Makes c10d's process groups of one kind, which move the bytes. */
interface ProcessGroupBackend extends AutoCloseable {
  /** Where tensors have to be. */
  Device device();

  /** Connects a group; all its ranks call this. The caller owns the result. */
  Backend group(Store store, int rank, int size);

  /** Ends a group in good order, once all its operations have been awaited; all its ranks do. */
  void shutdown(Backend group);

  /** Breaks a group's operations off, here and on its other ranks; the group is dead after that. */
  void abort(Backend group);

  @Override
  void close();
}
