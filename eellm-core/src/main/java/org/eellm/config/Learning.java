package org.eellm.config;

/** Which parameters a run changes, and hence which part of the model it needs. */
public enum Learning {
  /** All of them. */
  EVERYTHING,
  /**
   * The exits' heads, from text (EE-Tuning, arXiv 2402.00518): of the trunk the layers up to the
   * last exit are there, as they are, and no final head.
   */
  EXITS,
  /**
   * The exits' heads, from what the final head says: all layers are there, as they are, and the
   * final head where it teaches and beside every exit.
   */
  EXITS_FROM_FINAL_HEAD;

  /** How many of a model's layers are there. */
  public int layers(Architecture architecture) {
    return switch (this) {
      case EVERYTHING, EXITS_FROM_FINAL_HEAD -> architecture.model().numLayers();
      case EXITS ->
          architecture.exits().layers().isEmpty() ? 0 : architecture.exits().layers().getLast();
    };
  }
}
