package org.eellm.decode.speculate;

import java.util.Arrays;

/**
 * How likely the full model confirms what an exit drafts, by how sure the exit is: running means,
 * so that they follow the text.
 */
final class Acceptance {
  private static final int BINS = 10;

  /** Drafts that what is assumed at first counts for. */
  private static final double PRIOR = 3;

  /** What remains of the weight of older drafts with each new one in a bin. */
  private static final double DECAY = 0.98;

  private static final double MEAN_RATE = 0.03;

  private final double[] confirmed = new double[BINS];
  private final double[] judged = new double[BINS];
  private double mean;
  private int questions;

  Acceptance() {
    Arrays.fill(judged, PRIOR);
    for (int bin = 0; bin < BINS; bin++) {
      confirmed[bin] = PRIOR * (0.7 + 0.3 * (bin + 0.5) / BINS);
    }
    mean = 0.8; // hopeful, so that it is tried
  }

  private static int bin(double confidence) {
    return Math.clamp((int) (confidence * BINS), 0, BINS - 1);
  }

  /** The probability that a draft is confirmed, of which the exit is as sure as this. */
  double of(double confidence) {
    int bin = bin(confidence);
    return confirmed[bin] / judged[bin];
  }

  /** The same of the next draft, of which nothing is known. */
  double mean() {
    return mean;
  }

  /** How often the exit was asked. */
  int questions() {
    return questions;
  }

  /** Takes how sure an exit was when it was asked. */
  void addQuestion(double confidence) {
    questions++;
    mean += Math.max(MEAN_RATE, 1.0 / (1 + questions)) * (of(confidence) - mean);
  }

  /** Takes what the full model made of a draft. */
  void addJudgement(double confidence, boolean holds) {
    int bin = bin(confidence);
    confirmed[bin] = DECAY * confirmed[bin] + (holds ? 1 : 0);
    judged[bin] = DECAY * judged[bin] + 1;
  }
}
