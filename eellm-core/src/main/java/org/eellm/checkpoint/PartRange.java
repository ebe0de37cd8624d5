package org.eellm.checkpoint;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.eellm.model.parameter.Sharding;

/**
 * Consecutive elements of one of the equal parts that tensor parallelism cuts a parameter into, row
 * by row.
 *
 * @param part of {@code parts}, from 0
 * @param start the first element, in that part
 */
record PartRange(int part, int parts, long start, long length) {

  /**
   * Consecutive elements that two ranges have in common.
   *
   * @param from the first one's place in the one range
   * @param into and in the other
   */
  record Run(long from, long into, long length) {}

  /** The element after the last, in the part. */
  long end() {
    return start + length;
  }

  /**
   * All that this range has of another, in order.
   *
   * @param wholeShape of the parameter
   */
  List<Run> of(PartRange other, Sharding split, long[] wholeShape) {
    // Parts of rows follow each other as a row's parts of columns do: one row of all elements.
    long rows = split == Sharding.COLUMNS ? wholeShape[0] : 1;
    long columns = Arrays.stream(wholeShape).reduce(1, Math::multiplyExact) / rows;
    long width = columns / parts;
    long otherWidth = columns / other.parts;
    long first = Math.max(part * width, other.part * otherWidth);
    long last = Math.min((part + 1) * width, (other.part + 1) * otherWidth);
    List<Run> runs = new ArrayList<>();
    if (first >= last || length == 0 || other.length == 0) {
      return runs;
    }
    long row = Math.max(start / width, other.start / otherWidth);
    long lastRow = Math.min((end() - 1) / width, (other.end() - 1) / otherWidth);
    for (; row <= lastRow; row++) {
      long here = row * width + first - part * width;
      long there = row * otherWidth + first - other.part * otherWidth;
      long skipped = Math.max(0, Math.max(start - here, other.start - there));
      long end = Math.min(last - first, Math.min(end() - here, other.end() - there));
      if (skipped < end) {
        add(runs, new Run(here + skipped - start, there + skipped - other.start, end - skipped));
      }
    }
    return runs;
  }

  /** Joins runs that follow each other in both ranges. */
  private static void add(List<Run> runs, Run next) {
    if (!runs.isEmpty()) {
      Run before = runs.getLast();
      if (before.from + before.length == next.from && before.into + before.length == next.into) {
        runs.set(runs.size() - 1, new Run(before.from, before.into, before.length + next.length));
        return;
      }
    }
    runs.add(next);
  }
}
