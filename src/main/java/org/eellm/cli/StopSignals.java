package org.eellm.cli;

import java.io.PrintStream;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.BooleanSupplier;
import org.jline.utils.Signals;

/**
 * SIGTERM and SIGINT (Ctrl-C) as a request to stop in good order. The second signal ends the
 * process at once, as it would have without this.
 */
final class StopSignals {
  private static final List<String> NAMES = List.of("TERM", "INT");

  private StopSignals() {}

  /**
   * Listens from now on.
   *
   * @param err told when a signal comes
   * @return whether a signal has come
   */
  static BooleanSupplier listen(PrintStream err) {
    AtomicBoolean requested = new AtomicBoolean();
    for (String name : NAMES) {
      Signals.register(
          name,
          () -> {
            requested.set(true);
            NAMES.forEach(Signals::registerDefault);
            err.printf("%nSIG%s: saving after this step; a second signal ends at once%n", name);
          });
    }
    return requested::get;
  }
}
