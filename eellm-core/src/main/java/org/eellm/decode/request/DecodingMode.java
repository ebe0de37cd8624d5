package org.eellm.decode.request;

import java.util.Locale;

/** The decoders by name. */
public enum DecodingMode {
  FULL,
  EARLY_EXIT,
  RECOMPUTE,
  PROPAGATE,
  SPECULATIVE;

  /** Whether tokens leave where an exit policy says. */
  public boolean leavesEarly() {
    return this != FULL && this != SPECULATIVE;
  }

  /** The name in options and requests: {@code early-exit}. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
