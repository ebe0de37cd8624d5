package org.eellm.decode.speculate;

import java.util.Locale;

/** Where drafts come from whose exit and length adapt. */
public enum DraftSource {
  /** Whichever of the two is worth most. */
  BOTH,
  /** What exits say next. */
  EXITS,
  /** What followed the last tokens where prompt or text had them before; needs no exits. */
  TEXT;

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
