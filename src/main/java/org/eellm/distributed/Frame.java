package org.eellm.distributed;

import java.lang.foreign.MemorySegment;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.tensor.Kept;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/**
 * Bytes under way between {@link Outbox} and {@link Inbox}: a message's length and as much of it as
 * goes at once, or the rest of one.
 */
record Frame(Kept kept, Tensor tensor, Pending pending) {
  static final int TAG = 1;
  static final int REST_TAG = 2;

  /** In place of a message's length: there is none, and no further one. */
  static final int END = -1;

  /** Frames that an inbox is ready to receive at any time. */
  static final int POSTED = 4;

  /** What starts a tensor on its way. */
  @FunctionalInterface
  interface Start {
    Pending of(Tensor tensor);
  }

  static Frame allocate(int size) {
    Kept kept = new Kept();
    try (Scope _ = Scope.open()) {
      Tensor bytes = kept.keep(Tensors.empty(ScalarType.Byte, Torch.cpu(), size));
      return new Frame(kept, bytes, Pending.done());
    }
  }

  Frame start(Start start) {
    return new Frame(kept, tensor, start.of(tensor));
  }

  /** Its memory, until {@link #free}. */
  MemorySegment bytes() {
    return Tensors.bytes(tensor);
  }

  void free() {
    kept.close();
  }
}
