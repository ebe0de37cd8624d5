package org.eellm.distributed.collective;

import org.bytedeco.pytorch.Backend;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Store;

/** Makes c10d's process groups of one kind, which move the bytes. */
sealed interface ProcessGroupBackend extends AutoCloseable permits GlooBackend, NcclBackend {
  /** Where tensors have to be. */
  Device device();

  /** Connects a group; all its ranks call this. The caller owns the result. */
  Backend group(Store store, int rank, int size);

  /** Breaks a group's operations off, here and on its other ranks; the group is dead after that. */
  void abort(Backend group);

  @Override
  void close();
}
