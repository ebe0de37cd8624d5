package org.eellm.serve;

import java.time.Duration;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import org.eellm.serve.json.ApiException;

/**
 * The events that end a request before its answer is complete: its client has gone, its time is
 * over, or the server stops.
 *
 * @param start {@link System#nanoTime} of the request
 * @param limit how long it may take
 * @param connected whether the client is still there
 * @param aborted whether the server will wait no longer
 */
record RequestContext(
    long start, Duration limit, BooleanSupplier connected, BooleanSupplier aborted) {
  /** How often it is looked whether somebody is still there. */
  private static final long LOOK_MILLIS = 50;

  /** The client has gone: there is nobody to answer. */
  static final class ClientDisconnected extends RuntimeException {
    ClientDisconnected(String message) {
      super(message);
    }
  }

  /** Something to wait for. */
  @FunctionalInterface
  interface Source<T> {
    /** What happens next, or nothing within a time. */
    Optional<T> next(long millis) throws InterruptedException;
  }

  /**
   * Waits for what happens next.
   *
   * @param idle called about every ten seconds in which nothing happens
   * @throws ClientDisconnected if the client has closed the connection
   * @throws ApiException if the time is over, or the server stops
   */
  <T> T await(Source<T> source, Runnable idle) {
    long waited = 0;
    while (true) {
      if (!connected.getAsBoolean()) {
        throw new ClientDisconnected("the client has closed the connection");
      }
      if (aborted.getAsBoolean()) {
        throw ApiException.busy(503, "stopping", "the server stops; try another", 10);
      }
      if (System.nanoTime() - start > limit.toNanos()) {
        throw ApiException.failed(
            504,
            "timeout",
            "not done within the %d seconds that a request may take; use a smaller max_tokens, or fewer texts"
                .formatted(limit.toSeconds()));
      }
      try {
        Optional<T> event = source.next(LOOK_MILLIS);
        if (event.isPresent()) {
          return event.get();
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw ApiException.busy(503, "stopping", "the server stops; try another", 10);
      }
      waited += LOOK_MILLIS;
      if (waited % 10_000 == 0) {
        idle.run();
      }
    }
  }
}
