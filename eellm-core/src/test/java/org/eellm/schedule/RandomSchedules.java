package org.eellm.schedule;

import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** Schedules of every kind in random shapes, the same ones in every run. */
final class RandomSchedules {
  private static final int MOST_STAGES = 8;
  private static final int MOST_CHUNKS = 4;
  private static final int MOST_MICROBATCHES = 32;
  private static final int MOST_FILLS = 5;

  private RandomSchedules() {}

  static Stream<Schedule> of(ScheduleKind kind, int count) {
    Random random = new Random(1);
    return IntStream.range(0, count).mapToObj(_ -> one(kind, random));
  }

  static Stream<Schedule> filled(int count) {
    Random random = new Random(99);
    return IntStream.range(0, count)
        .mapToObj(
            _ -> {
              int stages = random.nextInt(2, MOST_STAGES + 1);
              Fills fills = new Fills(depths(stages, random), depths(stages, random));
              return Schedules.emit(
                  ScheduleKind.ONE_F_ONE_B, stages, 1, microbatches(random), fills);
            });
  }

  private static Schedule one(ScheduleKind kind, Random random) {
    if (kind == ScheduleKind.INTERLEAVED) {
      int stages = random.nextInt(2, MOST_STAGES + 1);
      int groups = random.nextInt(1, MOST_MICROBATCHES / stages + 1);
      return Schedules.emit(kind, stages, random.nextInt(2, MOST_CHUNKS + 1), stages * groups);
    }
    return Schedules.emit(kind, random.nextInt(1, MOST_STAGES + 1), 1, microbatches(random));
  }

  private static int microbatches(Random random) {
    return random.nextInt(1, MOST_MICROBATCHES + 1);
  }

  private static List<Integer> depths(int stages, Random random) {
    return IntStream.range(0, random.nextInt(MOST_FILLS + 1))
        .mapToObj(_ -> random.nextInt(1, stages))
        .toList();
  }
}
