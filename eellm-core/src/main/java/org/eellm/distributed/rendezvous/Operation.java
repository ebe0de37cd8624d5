package org.eellm.distributed.rendezvous;

import java.util.Locale;

/**
 * Something that a rank does with others, for messages.
 *
 * @param what such as {@code all-reduce}
 * @param bytes the size of this rank's tensor; 0 where there is none
 * @param where such as {@code over dp} or {@code from rank 2 (tp 0, dp 0, pp 1), tag 7}
 */
public record Operation(String what, long bytes, String where) {

  /** Such as {@code all-reduce of 4.2 MB over dp}. */
  @Override
  public String toString() {
    return what + (bytes == 0 ? "" : " of " + size()) + " " + where;
  }

  private String size() {
    if (bytes < 1000) {
      return bytes + " B";
    }
    return bytes < 1_000_000
        ? String.format(Locale.ROOT, "%.1f kB", bytes / 1e3)
        : String.format(Locale.ROOT, "%.1f MB", bytes / 1e6);
  }
}
