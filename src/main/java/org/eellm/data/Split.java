package org.eellm.data;

/**
 * Relative shares of training, validation and test. A dataset is divided in this order, whole
 * sequences each, by Megatron's rounding.
 */
public record Split(double training, double validation, double test) {
  /** Everything is for training. */
  public static final Split TRAINING_ONLY = new Split(1, 0, 0);

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

  /** The first sequence of each part, and the number of sequences. */
  long[] boundaries(long sequences) {
    double sum = training + validation + test;
    long[] boundaries = new long[4];
    boundaries[1] = (long) Math.rint(training / sum * sequences);
    boundaries[2] = boundaries[1] + (long) Math.rint(validation / sum * sequences);
    boundaries[3] = boundaries[2] + (long) Math.rint(test / sum * sequences);
    // Rounding may have given one sequence too many or too few.
    long excess = boundaries[3] - sequences;
    for (int i = 1; i < boundaries.length; i++) {
      boundaries[i] = Math.max(0, boundaries[i] - excess);
    }
    return boundaries;
  }
}
