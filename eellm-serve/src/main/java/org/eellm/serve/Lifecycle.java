package org.eellm.serve;

import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import org.eellm.serve.json.ApiException;

/** From loading over serving to stopped: whether requests are taken, and how many are in work. */
final class Lifecycle {
  /** For texts that have been told to end. */
  private static final Duration LAST_WORDS = Duration.ofSeconds(2);

  private final AtomicInteger inWork = new AtomicInteger();
  private volatile Optional<TextService> service = Optional.empty();
  private volatile boolean stopping;
  private volatile boolean aborted;

  /** Takes requests from now on. */
  void serve(TextService ready) {
    service = Optional.of(ready);
  }

  /** What takes requests, once there is a model. */
  Optional<TextService> service() {
    return service;
  }

  /**
   * What takes requests.
   *
   * @throws ApiException if nothing does yet, or any more
   */
  TextService ready() {
    if (stopping) {
      throw ApiException.busy(503, "stopping", "the server stops; try another", 10);
    }
    return service.orElseThrow(
        () -> ApiException.busy(503, "loading", "the model is being loaded; try again soon", 2));
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

  /** Counts a request that is taken in work. */
  void begin() {
    inWork.incrementAndGet();
  }

  /** Counts a request that has been dealt with. */
  void end() {
    inWork.decrementAndGet();
  }

  /** Takes no further requests, waits for those in work, and then ends the others. */
  void stop(Duration patience) {
    stopping = true;
    awaitNoneInWork(patience);
    aborted = true;
    awaitNoneInWork(LAST_WORDS);
  }

  private void awaitNoneInWork(Duration most) {
    long end = System.nanoTime() + most.toNanos();
    try {
      while (inWork.get() > 0 && System.nanoTime() < end) {
        Thread.sleep(20);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt(); // whoever interrupts does not want to wait
    }
  }
}
