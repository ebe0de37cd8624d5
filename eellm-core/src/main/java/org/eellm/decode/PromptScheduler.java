package org.eellm.decode;

import java.util.Arrays;

/**
 * Shares out the rows of prompts that a step takes. The prompt with the fewest rows left comes
 * first, so that a short one does not wait for long ones. The oldest has a part of each step, so
 * that it comes to its end however many short ones arrive.
 */
final class PromptScheduler {
  /** The oldest prompt has one row of so many. */
  private static final int PART_OF_OLDEST = 4;

  private PromptScheduler() {}

  /**
   * How many rows each prompt gets.
   *
   * @param remaining rows of each prompt, the oldest first
   * @param rows of a step
   */
  static int[] share(int[] remaining, int rows) {
    int[] shares = new int[remaining.length];
    if (remaining.length > 0) {
      shares[0] = Math.min(remaining[0], rows / PART_OF_OLDEST);
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
