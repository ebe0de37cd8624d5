package org.eellm.decode.speculate;

import java.util.Locale;

/** Where drafts come from whose exit and length adapt. */
public enum DraftSource {
  /** Whichever of the two is worth most. */
  BOTH,
  /** Tokens that exits predict. */
  EXITS,
  /** Tokens that followed the last ones where these came before; needs no exits. */
  TEXT;

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
