package org.eellm.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.eellm.model.parameter.Sharding;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Runs are what element by element counting finds, and ranks read each element once. */
final class PartRangeTest {
  private static final long[] SHAPE = {12, 24};
  private static final long ELEMENTS = 12 * 24;

  /** The pieces that a mesh cuts a parameter into: each part into equal and a shorter last one. */
  private static List<PartRange> cut(int parts, int length) {
    List<PartRange> ranges = new ArrayList<>();
    long part = ELEMENTS / parts;
    for (int i = 0; i < parts; i++) {
      for (long start = 0; start < part; start += length) {
        ranges.add(new PartRange(i, parts, start, Math.min(length, part - start)));
      }
    }
    return ranges;
  }

  /** Where an element of a range is in the whole parameter. */
  private static long place(PartRange range, Sharding split, long element) {
    long at = range.start() + element;
    long columns = SHAPE[1];
    long width = split == Sharding.COLUMNS ? columns / range.parts() : columns;
    long row =
        at / width + (split == Sharding.ROWS ? range.part() * (SHAPE[0] / range.parts()) : 0);
    return row * columns + at % width + (split == Sharding.COLUMNS ? range.part() * width : 0);
  }

  @ParameterizedTest
  @CsvSource({
    "REPLICATED, 1, 288, 1, 50",
    "ROWS, 4, 72, 2, 37",
    "ROWS, 3, 31, 4, 72",
    "COLUMNS, 4, 72, 2, 144",
    "COLUMNS, 2, 23, 2, 59",
    "COLUMNS, 3, 41, 4, 31",
    "COLUMNS, 1, 288, 6, 48",
  })
  void of_anyTwoMeshes_findsEachElementOnce(
      Sharding split, int parts, int length, int otherParts, int otherLength) {
    long read = 0;
    for (PartRange wanted : cut(otherParts, otherLength)) {
      boolean[] found = new boolean[(int) wanted.length()];
      for (PartRange stored : cut(parts, length)) {
        for (PartRange.Run run : stored.of(wanted, split, SHAPE)) {
          for (long i = 0; i < run.length(); i++) {
            assertThat(place(stored, split, run.from() + i))
                .isEqualTo(place(wanted, split, run.into() + i));
            assertThat(found[(int) (run.into() + i)]).isFalse();
            found[(int) (run.into() + i)] = true;
          }
          read += run.length();
        }
      }
      assertThat(found).doesNotContain(false);
    }
    assertThat(read).isEqualTo(ELEMENTS);
  }

  @ParameterizedTest
  @CsvSource({"ROWS", "COLUMNS"})
  void of_theSameParts_isOneRun(Sharding split) {
    PartRange stored = new PartRange(1, 2, 10, 90);
    PartRange wanted = new PartRange(1, 2, 40, 100);
    assertThat(stored.of(wanted, split, SHAPE)).containsExactly(new PartRange.Run(30, 0, 60));
    assertThat(stored.of(new PartRange(0, 2, 40, 100), split, SHAPE)).isEmpty();
  }
}
