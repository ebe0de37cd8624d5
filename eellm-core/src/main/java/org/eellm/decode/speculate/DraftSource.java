package org.eellm.decode.speculate;

import java.util.Locale;

/** Where drafts come from whose exit and length adapt. */
public enum DraftSource {
  /** Whichever of the others is worth most. */
  BOTH,
  /** Tokens that exits predict. */
  EXITS,
  /** Tokens that a draft head predicts. */
  HEAD,
  /** Tokens that followed the last ones where these came before; needs no exits. */
  TEXT;

  /** Whether exits draft. */
  public boolean hasExits() {
    return this == BOTH || this == EXITS;
  }

  /** Whether a draft head does. */
  public boolean hasDraftHead() {
    return this == BOTH || this == HEAD;
  }

  /** Whether the text itself does. */
  public boolean hasText() {
    return this == BOTH || this == TEXT;
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
