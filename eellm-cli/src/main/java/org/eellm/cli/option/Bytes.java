package org.eellm.cli.option;

import java.util.Locale;

/** Numbers of bytes and of parameters as people read them. */
public final class Bytes {
  private static final String[] UNITS = {"B", "kB", "MB", "GB", "TB"};

  private Bytes() {}

  /** {@code 512 B}, {@code 1.5 MB}. */
  public static String text(long count) {
    double value = count;
    int unit = 0;
    while (value >= 1000 && unit < UNITS.length - 1) {
      value /= 1000;
      unit++;
    }
    return unit == 0 ? count + " B" : String.format(Locale.ROOT, "%.1f %s", value, UNITS[unit]);
  }
}
