package org.eellm.data;

import java.util.Arrays;

/**
 * Relative shares of training, validation and test. A dataset is divided in this order, into whole
 * sequences where they suffice, by Megatron's rounding.
 */
public record Split(double training, double validation, double test) {
  /** Everything is for validation. */
  public static final Split VALIDATION_ONLY = new Split(0, 1, 0);

  /** A part of a dataset. */
  public enum Part {
    TRAINING,
    VALIDATION,
    TEST
  }

  public Split {
    if (!(training >= 0 && validation >= 0 && test >= 0 && training + validation + test > 0)) {
      throw new DataException(
          "split %s, %s, %s: shares are 0 or more, and not all 0"
              .formatted(training, validation, test));
    }
  }

  /**
   * The first token of each part of a dataset, and the number of tokens. Where a part with a share
   * would get no sequence, as in a dataset of a single document, tokens are divided in their place.
   */
  long[] tokenBoundaries(IndexedDataset dataset) {
    long[] sequences = boundaries(dataset.sequences());
    boolean complete =
        (training == 0 || sequences[1] > 0)
            && (validation == 0 || sequences[2] > sequences[1])
            && (test == 0 || sequences[3] > sequences[2]);
    return complete
        ? Arrays.stream(sequences).map(dataset::start).toArray()
        : boundaries(dataset.tokens());
  }

  /** The first element of each part, and the number of elements. */
  long[] boundaries(long count) {
    double sum = training + validation + test;
    long[] boundaries = new long[4];
    boundaries[1] = (long) Math.rint(training / sum * count);
    boundaries[2] = boundaries[1] + (long) Math.rint(validation / sum * count);
    boundaries[3] = boundaries[2] + (long) Math.rint(test / sum * count);
    // Rounding may have given one element too many or too few.
    long excess = boundaries[3] - count;
    for (int i = 1; i < boundaries.length; i++) {
      boundaries[i] = Math.max(0, boundaries[i] - excess);
    }
    return boundaries;
  }
}
