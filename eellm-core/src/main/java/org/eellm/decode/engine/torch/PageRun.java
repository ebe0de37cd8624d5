package org.eellm.decode.engine.torch;

import java.util.ArrayList;
import java.util.List;
import org.eellm.decode.engine.ModelRunner;

/**
 * Positions of a sequence whose keys and values follow each other in memory too.
 *
 * @param position the first
 * @param row where it lies: page times {@link ModelRunner#PAGE} plus its place there
 */
record PageRun(int position, int row, int count) {

  /** Where the positions from {@code first} up to {@code end} lie, in order. */
  static List<PageRun> of(int[] pages, int first, int end) {
    List<PageRun> runs = new ArrayList<>(1);
    int from = first;
    while (from < end) {
      int to = endOfPage(from);
      while (to < end && pages[to / ModelRunner.PAGE] == pages[to / ModelRunner.PAGE - 1] + 1) {
        to = endOfPage(to);
      }
      int row = pages[from / ModelRunner.PAGE] * ModelRunner.PAGE + from % ModelRunner.PAGE;
      runs.add(new PageRun(from, row, Math.min(to, end) - from));
      from = to;
    }
    return runs;
  }

  private static int endOfPage(int position) {
    return (position / ModelRunner.PAGE + 1) * ModelRunner.PAGE;
  }
}
