package org.eellm.distributed.collective;

import org.eellm.distributed.DistributedException;

/**
 * An operation under way. Its tensors stay alive until {@link #await} returns; until then they may
 * be neither read nor written.
 */
public interface WorkHandle {
  /**
   * Waits until the operation is done: on the CPU for its result, on a GPU until later work on the
   * current stream will see it. Further calls return at once.
   *
   * @throws DistributedException if it fails or takes longer than the world's timeout; the message
   *     names the operation and the ranks that are dead or late. On a GPU the next operation may be
   *     the first to say so
   */
  void await();

  /** An operation that is done. */
  static WorkHandle done() {
    return () -> {};
  }
}
