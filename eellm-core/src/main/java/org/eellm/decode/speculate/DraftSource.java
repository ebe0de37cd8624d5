package org.eellm.decode.speculate;

import java.util.Locale;
import org.eellm.decode.precedent.RecentReplies;
import org.eellm.decode.precedent.RecycledTable;

/** Where drafts come from whose exit and length adapt. */
public enum DraftSource {
  /** Whichever of the others is worth most. */
  BOTH,
  /** Tokens that exits predict. */
  EXITS,
  /** Tokens that a draft head predicts. */
  HEAD,
  /**
   * Tokens that followed the last ones where these came before; needs no exits. All that follow.
   */
  TEXT,
  /** Tokens that followed the last ones in the text itself (prompt lookup). */
  PROMPT,
  /** Tokens that mostly follow the last two, by the model's draft table. */
  TABLE,
  /** Tokens that followed the last ones in other requests' replies. */
  REPLIES,
  /** Tokens that the model last held most probable behind the last two. */
  RECYCLED;

  boolean includes(DraftSource other) {
    return this == BOTH || this == other || this == TEXT && other.hasText();
  }

  /** Whether all that it has is shared by an engine's requests. */
  public boolean isShared() {
    return this == REPLIES || this == RECYCLED;
  }

  /**
   * Bytes that it takes at most, without heads.
   *
   * @param table those of the model's draft table
   */
  public long mostBytes(long table, DraftMemory memory) {
    boolean shared = memory == DraftMemory.SHARED;
    return (includes(TABLE) ? table : 0)
        + (shared && includes(REPLIES) ? RecentReplies.MOST_BYTES : 0)
        + (shared && includes(RECYCLED) ? RecycledTable.BYTES : 0);
  }

  public boolean hasExits() {
    return this == BOTH || this == EXITS;
  }

  public boolean hasDraftHead() {
    return this == BOTH || this == HEAD;
  }

  /** Whether texts or a table do, which need no layer. */
  public boolean hasText() {
    return this != EXITS && this != HEAD;
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
