package org.eellm.config;

import org.eellm.config.TuneConfig.Lora;

/** Which parameters a run changes, and hence which part of the model it needs. */
public sealed interface Learning {
  /** All of them. */
  Learning EVERYTHING = Part.EVERYTHING;

  /**
   * The exits' heads, from text (EE-Tuning, arXiv 2402.00518): of the trunk the layers up to the
   * last exit are there, as they are, and no final head.
   */
  Learning EXITS = Part.EXITS;

  /**
   * The exits' heads, from what the final head says: all layers are there, as they are, and the
   * final head where it teaches and beside every exit.
   */
  Learning EXITS_FROM_FINAL_HEAD = Part.EXITS_FROM_FINAL_HEAD;

  /**
   * The draft head, from what the final head says: all layers are there, as they are, and heads.
   */
  Learning DRAFT_HEAD = Part.DRAFT_HEAD;

  /** Whether losses go back through the trunk, and the final head has one. */
  boolean goesThroughTrunk();

  /** How many of a model's layers are there. */
  int layers(Architecture architecture);

  /** Parameters that the model has. */
  enum Part implements Learning {
    EVERYTHING,
    EXITS,
    EXITS_FROM_FINAL_HEAD,
    DRAFT_HEAD;

    @Override
    public boolean goesThroughTrunk() {
      return this == EVERYTHING;
    }

    @Override
    public int layers(Architecture architecture) {
      return switch (this) {
        case EVERYTHING, EXITS_FROM_FINAL_HEAD, DRAFT_HEAD -> architecture.model().numLayers();
        case EXITS ->
            architecture.exits().layers().isEmpty() ? 0 : architecture.exits().layers().getLast();
      };
    }
  }

  /** Low-rank changes of the trunk's linear maps; the model is all there, as it is. */
  record Adapter(Lora lora) implements Learning {
    @Override
    public boolean goesThroughTrunk() {
      return true;
    }

    @Override
    public int layers(Architecture architecture) {
      return architecture.model().numLayers();
    }
  }
}
