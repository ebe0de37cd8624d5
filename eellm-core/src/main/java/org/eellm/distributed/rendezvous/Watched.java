package org.eellm.distributed.rendezvous;

import java.util.List;
import java.util.Optional;

/** Operations with other ranks that a {@link HeartbeatMonitor} ends from a thread of its own. */
public interface Watched {
  /**
   * An operation that somebody has waited for, and that is not done yet.
   *
   * @param peers the ranks it involves
   * @param since when the wait began, {@link System#nanoTime}
   */
  record Awaited(Operation operation, List<Integer> peers, long since) {}

  /** The longest awaited of the operations under way. */
  Optional<Awaited> longestAwaited();

  /** Breaks all operations off: those who wait for one get an error, and nobody starts another. */
  void abort();
}
