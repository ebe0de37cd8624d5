package org.eellm.distributed.launch;

import java.time.Duration;
import java.util.Locale;

/** Durations in messages. */
public final class Durations {
  private Durations() {}

  /** In seconds, such as {@code 31 s} or, when short, {@code 0.4 s}. */
  public static String text(Duration duration) {
    double seconds = duration.toMillis() / 1e3;
    return seconds < 10
        ? String.format(Locale.ROOT, "%.1f s", seconds)
        : String.format(Locale.ROOT, "%.0f s", seconds);
  }

  public static Duration sinceNanos(long start) {
    return Duration.ofNanos(System.nanoTime() - start);
  }
}
