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

  /** How far what became of the newest drafts counts, beside what was expected of them. */
  private static final double RECENT_RATE = 0.12;

  /** How much less often they may hold than expected, since that is mostly chance. */
  private static final double RECENT_SLACK = 0.2;

  private final double[] accepted = new double[BINS];
  private final double[] trials = new double[BINS];
  private double mean;
  private int drafts;
  private double held = 1; // of the newest drafts
  private double hoped = 1;

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
    return trust() * accepted[bin] / trials[bin];
  }

  /**
   * Below 1 where newest drafts held less often than was expected by their margins: a text that
   * changes its nature makes exits wrong and sure at once, and tells sooner than each margin's own
   * rate.
   */
  private double trust() {
    return Math.min(1, (held + RECENT_SLACK) / hoped);
  }

  /** The probability that the next draft is accepted, whose margin is not known yet. */
  double mean() {
    return trust() * mean;
  }

  /** How often the exit was asked. */
  int drafts() {
    return drafts;
  }

  /** Adds the margin of a choice of an exit that was asked for a draft. */
  void addDraft(double margin) {
    drafts++;
    mean += Math.max(MEAN_RATE, 1.0 / (1 + drafts)) * (of(margin) / trust() - mean);
  }

  /** Takes what the full model made of a draft. */
  void addVerified(double margin, boolean holds) {
    int bin = bin(margin);
    held += RECENT_RATE * ((holds ? 1 : 0) - held);
    hoped += RECENT_RATE * (accepted[bin] / trials[bin] - hoped);
    accepted[bin] = DECAY * accepted[bin] + (holds ? 1 : 0);
    trials[bin] = DECAY * trials[bin] + 1;
  }
}
