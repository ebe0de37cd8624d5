package org.eellm.decode.speculate;

import java.util.Locale;

/** Whether a request's drafts come from other requests, too. */
public enum DraftMemory {
  /** From these, and theirs from this one. */
  SHARED,
  /** From the request itself and the model's table; nothing is kept for others. */
  OWN;

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
