package org.eellm.serve;

import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import org.eellm.serve.json.ApiException;

/** From loading over serving to stopped: whether requests are taken, and how many are in work. */
final class Lifecycle {
  /** Grace period of requests that have been aborted. */
  private static final Duration ABORT_TIMEOUT = Duration.ofSeconds(2);

  private final AtomicInteger inFlight = new AtomicInteger();
  private volatile Optional<CompletionService> service = Optional.empty();
  private volatile boolean stopping;
  private volatile boolean aborted;

  /** Takes requests from now on. */
  void serve(CompletionService ready) {
    service = Optional.of(ready);
  }

  /** The service that takes requests, once there is a model. */
  Optional<CompletionService> service() {
    return service;
  }

  /**
   * The service that takes requests.
   *
   * @throws ApiException if nothing does yet, or any more
   */
  CompletionService ready() {
    if (stopping) {
      throw ApiException.busy(503, "stopping", "the server stops; try another", 10);
    }
    CompletionService ready =
        service.orElseThrow(
            () ->
                ApiException.busy(503, "loading", "the model is being loaded; try again soon", 2));
    if (!ready.model().engine().isOpen()) {
      throw ApiException.busy(503, "failed", "the model's engine has failed; try another", 10);
    }
    return ready;
  }

  /** In a word; {@code ok} where requests are taken. */
  String state() {
    return stopping
        ? "stopping"
        : service.map(ready -> ready.model().engine().isOpen() ? "ok" : "failed").orElse("loading");
  }

  /** Whether what is in work has to end at once. */
  boolean aborted() {
    return aborted;
  }

  /** Counts a request in flight. */
  void begin() {
    inFlight.incrementAndGet();
  }

  /** Counts a request that has been dealt with. */
  void end() {
    inFlight.decrementAndGet();
  }

  /** Takes no further requests, waits for those in work, and then ends the others. */
  void stop(Duration limit) {
    stopping = true;
    awaitNoneInWork(limit);
    aborted = true;
    awaitNoneInWork(ABORT_TIMEOUT);
  }

  private void awaitNoneInWork(Duration most) {
    long end = System.nanoTime() + most.toNanos();
    try {
      while (inFlight.get() > 0 && System.nanoTime() < end) {
        Thread.sleep(20);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt(); // whoever interrupts does not want to wait
    }
  }
}
