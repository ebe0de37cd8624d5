package org.eellm.file;

/** What files and users say as a message shows it: a hostile one must not fill the screen. */
public final class Shown {
  private static final int MOST = 80;

  private Shown() {}

  /** A value's text on one line; of a long one the first 77 characters. */
  public static String of(Object value) {
    return of(value, MOST);
  }

  /** A value's text on one line of at most so many characters. */
  public static String of(Object value, int most) {
    String text = value.toString();
    return (text.length() <= most ? text : text.substring(0, most - 3) + "...")
        .replaceAll("\\p{Cntrl}", "?");
  }
}
