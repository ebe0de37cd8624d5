package org.eellm.decode.request;

import java.util.Locale;

/** The decoders by name. */
public enum DecodingMode {
  /** {@link DecodingMethod#full}. */
  FULL,
  /** {@link DecodingMethod.EarlyExit}. */
  EARLY_EXIT,
  /** {@link DecodingMethod.Recompute}. */
  RECOMPUTE,
  /** {@link DecodingMethod.Propagate}. */
  PROPAGATE,
  /** {@link DecodingMethod.Speculative}. */
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
