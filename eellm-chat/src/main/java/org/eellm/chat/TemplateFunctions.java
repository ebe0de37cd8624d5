package org.eellm.chat;

import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.Locale;

/** Functions that templates may call, which Jinja does not have. */
final class TemplateFunctions {
  private TemplateFunctions() {}

  /** A template's own refusal of messages. */
  static final class Raised extends RuntimeException {
    Raised(String message) {
      super(message);
    }
  }

  /** For templates: {@code raise_exception(message)}. */
  public static String raise(String message) {
    throw new Raised(message);
  }

  /**
   * For templates: {@code strftime_now(format)}, of whose letters days, months and years are known.
   */
  public static String now(String format) {
    String pattern =
        format
            .replace("%d", "dd")
            .replace("%b", "MMM")
            .replace("%B", "MMMM")
            .replace("%m", "MM")
            .replace("%Y", "yyyy")
            .replace("%y", "yy");
    return DateTimeFormatter.ofPattern(pattern, Locale.ENGLISH).format(ZonedDateTime.now());
  }
}
