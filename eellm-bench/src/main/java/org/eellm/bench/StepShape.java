package org.eellm.bench;

import java.util.Locale;

/**
 * What a step takes through a model.
 *
 * @param rows of the block
 * @param owner whose rows these are
 * @param context positions before the first row, of each sequence
 */
public record StepShape(int rows, Owner owner, int context) {

  /** Whose rows a block has. */
  public enum Owner {
    /** Consecutive rows of one sequence, as drafts and what waits are. */
    SEQUENCE,
    /** A row of each of so many sequences, as in a batch. */
    SEQUENCES;

    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }
}
