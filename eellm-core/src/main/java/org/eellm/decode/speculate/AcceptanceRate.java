package org.eellm.decode.speculate;

import java.util.Arrays;

/**
 * How likely the full model accepts what an exit drafts, by how far the exit's choice is ahead:
 * running means, so that they follow the text.
 */
final class AcceptanceRate {
  private static final int BINS = 10;

  /** Drafts that what is assumed at first counts for. */
  private static final double PRIOR = 3;

  /** The factor on the weight of older drafts with each new one in a bin. */
  private static final double DECAY = 0.98;

  private static final double MEAN_RATE = 0.03;

  private final double[] accepted = new double[BINS];
  private final double[] trials = new double[BINS];
  private double mean;
  private int drafts;

  AcceptanceRate() {
    Arrays.fill(trials, PRIOR);
    for (int bin = 0; bin < BINS; bin++) {
      accepted[bin] = PRIOR * (0.7 + 0.3 * (bin + 0.5) / BINS);
    }
    mean = 0.8; // hopeful, so that it is tried
  }

  private static int bin(double margin) {
    return Math.clamp((int) (margin * BINS), 0, BINS - 1);
  }

  /** The probability that a draft is accepted, at this margin of the exit's choice. */
  double of(double margin) {
    int bin = bin(margin);
    return accepted[bin] / trials[bin];
  }

  /** The probability that the next draft is accepted, whose margin is not known yet. */
  double mean() {
    return mean;
  }

  /** How often the exit was asked. */
  int drafts() {
    return drafts;
  }

  /** Adds the margin of a choice of an exit that was asked for a draft. */
  void addDraft(double margin) {
    drafts++;
    mean += Math.max(MEAN_RATE, 1.0 / (1 + drafts)) * (of(margin) - mean);
  }

  /** Takes what the full model made of a draft. */
  void addVerified(double margin, boolean holds) {
    int bin = bin(margin);
    accepted[bin] = DECAY * accepted[bin] + (holds ? 1 : 0);
    trials[bin] = DECAY * trials[bin] + 1;
  }

  /**
   * Whether a text goes on as it was: one that changes its nature makes all drafters wrong and sure
   * at once. Each draft tells the two states apart, by how likely each makes what became of it; so
   * a few failures in a row say more than the rate of each margin, which takes dozens.
   */
  static final class Nature {
    /** The probability that a text changes with a draft, either way. */
    private static final double CHANGE = 0.005;

    /** How often drafts hold in a text that has changed, as a share of what is expected of them. */
    private static final double REST = 0.1;

    /** However often drafts hold, those that fail come close together. */
    private static final double MOST_EXPECTED = 0.7;

    private double usual = 1; // the probability that it goes on as it was

    /** What is to be expected of drafts, as a share of what held so far. */
    double trust() {
      return usual + (1 - usual) * REST;
    }

    void add(double rate, boolean holds) {
      double expected = Math.min(rate, MOST_EXPECTED);
      double before = usual * (holds ? expected : 1 - expected);
      double changed = (1 - usual) * (holds ? REST * expected : 1 - REST * expected);
      double likely = before / (before + changed);
      usual = likely + CHANGE * (1 - 2 * likely);
    }
  }
}
