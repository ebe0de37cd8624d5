package org.eellm.distributed.mesh;

import org.eellm.distributed.DistributedException;

/** Another number of ranks than the mesh has, which is wrong use; the message has one that fits. */
public final class MeshSizeException extends DistributedException {
  MeshSizeException(String message) {
    super(message);
  }
}
