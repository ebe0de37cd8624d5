package org.eellm.decode.request;

import java.util.Locale;

/** The decoders by name. */
public enum DecodingMode {
  /** {@link Decoding#full}. */
  FULL,
  /** {@link Decoding.EarlyExit}. */
  EARLY_EXIT,
  /** {@link Decoding.Recompute}. */
  RECOMPUTE,
  /** {@link Decoding.Propagate}. */
  PROPAGATE,
  /** {@link Decoding.Speculative}. */
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
