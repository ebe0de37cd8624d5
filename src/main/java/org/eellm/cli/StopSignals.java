package org.eellm.cli;

import java.io.PrintWriter;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BooleanSupplier;
import org.jline.utils.Signals;

/**
 * SIGTERM and SIGINT (Ctrl-C) as a request to stop in good order, until this closes. The second
 * signal ends the process at once, as the first would have done without this.
 */
final class StopSignals implements BooleanSupplier, AutoCloseable {
  private static final List<String> NAMES = List.of("TERM", "INT");

  private final PrintWriter err;
  private final Map<String, Object> handlersBefore = new LinkedHashMap<>();
  private volatile boolean requested;

  private StopSignals(PrintWriter err) {
    this.err = err;
  }

  /**
   * Listens from now on.
   *
   * @param err told when a signal comes
   */
  static StopSignals listen(PrintWriter err) {
    StopSignals signals = new StopSignals(err);
    for (String name : NAMES) {
      // A terminal sends Ctrl-C to ranks and launcher alike, and the launcher hands it on.
      Runnable handler =
          name.equals("INT") && RankOptions.isLaunched() ? () -> {} : () -> signals.request(name);
      signals.handlersBefore.put(name, Signals.register(name, handler));
    }
    return signals;
  }

  private void request(String name) {
    requested = true;
    NAMES.forEach(Signals::registerDefault);
    err.printf("%nSIG%s: saving after this step; a second signal ends at once%n", name);
    err.flush();
  }

  /** Whether a signal has come. */
  @Override
  public boolean getAsBoolean() {
    return requested;
  }

  @Override
  public void close() {
    handlersBefore.forEach(Signals::unregister);
  }
}
