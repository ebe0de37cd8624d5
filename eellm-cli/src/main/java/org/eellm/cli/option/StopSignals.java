package org.eellm.cli.option;

import java.io.PrintWriter;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import org.jline.utils.Signals;

/**
 * SIGTERM and SIGINT (Ctrl-C) as a request to stop in good order, until this closes. The second
 * signal ends the process at once, as the first would have done without this.
 */
public final class StopSignals implements BooleanSupplier, AutoCloseable {
  private static final List<String> NAMES = List.of("TERM", "INT");

  /** The longest time between two arrivals of one signal, which may come by two ways. */
  private static final long SAME_SIGNAL_NANOS = 2_000_000_000L;

  private final PrintWriter err;
  private final String consequence;
  private final Map<String, Object> handlersBefore = new LinkedHashMap<>();
  private final CountDownLatch request = new CountDownLatch(1);

  private StopSignals(PrintWriter err, String consequence) {
    this.err = err;
    this.consequence = consequence;
  }

  /**
   * Listens from now on.
   *
   * @param err told when a signal comes
   * @param consequence what happens then, as in {@code saving after this step}
   */
  public static StopSignals listen(PrintWriter err, String consequence) {
    StopSignals signals = new StopSignals(err, consequence);
    for (String name : NAMES) {
      // A terminal sends Ctrl-C to ranks and launcher alike, and the launcher hands it on.
      Runnable handler =
          name.equals("INT") && LocalRanks.isLaunched() ? () -> {} : () -> signals.request(name);
      signals.handlersBefore.put(name, Signals.register(name, handler));
    }
    return signals;
  }

  private void request(String name) {
    request.countDown();
    if (LocalRanks.isLaunched()) {
      NAMES.forEach(each -> Signals.register(each, () -> {}));
      Thread.ofPlatform().daemon().name("eellm-signals").start(StopSignals::endAtOnceSoon);
    } else {
      NAMES.forEach(Signals::registerDefault);
    }
    err.printf("%nSIG%s: %s; a second signal ends at once%n", name, consequence);
  }

  /**
   * A scheduler signals ranks and launchers alike, and launchers hand it on: that is one signal.
   */
  private static void endAtOnceSoon() {
    LockSupport.parkNanos(SAME_SIGNAL_NANOS);
    NAMES.forEach(Signals::registerDefault);
  }

  /** Whether a signal has come. */
  @Override
  public boolean getAsBoolean() {
    return request.getCount() == 0;
  }

  /** Waits for a signal, but no longer than a while; whether one has come. */
  public boolean await(Duration atMost) {
    try {
      return request.await(atMost.toMillis(), TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return true;
    }
  }

  /** A launcher may signal a rank that is ending already, and that is no failure of it. */
  @Override
  public void close() {
    if (LocalRanks.isLaunched()) {
      NAMES.forEach(each -> Signals.register(each, () -> {}));
    } else {
      handlersBefore.forEach(Signals::unregister);
    }
  }
}
