package org.eellm.decode;

import java.util.Arrays;

/**
 * Shares out the rows of prompts that a step takes. The prompt with the fewest rows left comes
 * first, so that a short one does not wait for long ones. The oldest has a part of each step, so
 * that it comes to its end however many short ones arrive.
 *
 * <p>Where users wait, a step takes a bounded time: what rows cost is learned from the steps
 * before, for it is the model's and the machine's own, and grows with the positions that rows
 * attend to.
 */
final class PromptScheduler {
  /** As long as nothing has been learned, and behind short prompts, which tell little. */
  private static final int FIRST_ROWS = 32;

  /** The oldest prompt has one row of so many, and some at least. */
  private static final int PART_OF_OLDEST = 4;

  private static final int LEAST_OF_OLDEST = 4;

  private final boolean isTimed;
  private final Estimate plain = new Estimate(); // seconds of a step without prompts
  private final Estimate row = new Estimate(); // seconds that a prompt's row adds
  private int last; // rows of the last step with prompts

  /**
   * How long a step takes.
   *
   * @param seconds at most
   * @param plain but the prompts' part at least so many times as long as a step without prompts: a
   *     large model would never come to the end of one
   * @param leastRows and at least so many rows: with fewer, reading the weights, and waiting for
   *     other programs, takes most of the time
   */
  private record Bound(double seconds, int plain, int leastRows) {
    /** Beside texts that go on. */
    static final Bound BESIDE_TEXTS = new Bound(0.035, 1, 8);

    /** Where it delays those alone who come meanwhile. */
    static final Bound ALONE = new Bound(0.1, 4, 32);

    int rows(double plainSeconds, double rowSeconds) {
      double prompts = Math.max(seconds - plainSeconds, plain * plainSeconds);
      return (int) Math.clamp(prompts / rowSeconds, leastRows, Batch.PROMPT_ROWS);
    }
  }

  /**
   * A mean of the last samples. One that is far off counts as twice or half of what was expected:
   * other programs and the garbage collector hold steps up at times.
   */
  private static final class Estimate {
    private static final double WEIGHT = 0.5; // of a sample

    private double value;

    void add(double sample) {
      value =
          value == 0 ? sample : value + WEIGHT * (Math.clamp(sample, value / 2, 2 * value) - value);
    }
  }

  private PromptScheduler(boolean isTimed) {
    this.isTimed = isTimed;
  }

  /** For texts that are all there from the beginning, and ranks that have to do the same. */
  static PromptScheduler ofRows() {
    return new PromptScheduler(false);
  }

  /** For texts of users who wait. */
  static PromptScheduler ofTime() {
    return new PromptScheduler(true);
  }

  /**
   * Rows of prompts that the next step takes at most.
   *
   * @param isAlone whether no other text goes on in it
   */
  int rows(boolean isAlone) {
    if (!isTimed) {
      return Batch.PROMPT_ROWS;
    }
    if (row.value == 0) {
      return FIRST_ROWS;
    }
    Bound bound = isAlone ? Bound.ALONE : Bound.BESIDE_TEXTS;
    return Math.min(bound.rows(plain.value, row.value), Math.max(FIRST_ROWS, 2 * last));
  }

  /**
   * Learns from the time of a step with so many rows of prompts. They count as half of it at least:
   * the first rows cost almost nothing while the weights come from memory, and the next ones do.
   */
  void learn(int rows, double seconds) {
    if (rows == 0) {
      plain.add(seconds);
      return;
    }
    last = rows;
    if (rows >= Bound.BESIDE_TEXTS.leastRows) {
      row.add(Math.max(seconds - plain.value, seconds / 2) / rows);
    }
  }

  /**
   * How many rows each prompt gets.
   *
   * @param remaining rows of each prompt, the oldest first
   */
  static int[] share(int[] remaining, int rows) {
    int[] shares = new int[remaining.length];
    if (remaining.length > 0) {
      int part = Math.max(rows / PART_OF_OLDEST, Math.min(rows, LEAST_OF_OLDEST));
      shares[0] = Math.min(remaining[0], part);
    }
    int left = rows - Arrays.stream(shares).sum();
    while (left > 0) {
      int shortest = shortest(remaining, shares);
      if (shortest < 0) {
        break;
      }
      int more = Math.min(left, remaining[shortest] - shares[shortest]);
      shares[shortest] += more;
      left -= more;
    }
    return shares;
  }

  /** The prompt with the fewest rows left, of those that have not got all; -1 if all have. */
  private static int shortest(int[] remaining, int[] shares) {
    int shortest = -1;
    for (int i = 0; i < remaining.length; i++) {
      if (shares[i] < remaining[i] && (shortest < 0 || remaining[i] < remaining[shortest])) {
        shortest = i;
      }
    }
    return shortest;
  }
}
