package org.eellm.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.eellm.kernel.vector.SplitMix;
import org.eellm.kernel.vector.WeightedIds;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

@Tag("vectors")
final class IdMarksTest {
  private static final int MOST = 1024;

  static IntStream counts() {
    return IntStream.concat(IntStream.rangeClosed(1, 66), IntStream.of(300, 1000, MOST));
  }

  private static WeightedIds list(int count, Random random) {
    WeightedIds list = WeightedIds.allocate(IdMarks.room(count));
    int id = 0;
    for (int i = 0; i < list.length(); i++) {
      id += 1 + random.nextInt(300);
      list.ids().values()[i] = id;
      list.powers().values()[i] = -3 * random.nextFloat();
    }
    return list;
  }

  @ParameterizedTest
  @MethodSource("counts")
  void mark_anyCountAndBound_isTheDefinition(int count) {
    Random random = new Random(count);
    WeightedIds list = list(64 + count, random);
    IdMarks marks = new IdMarks(MOST);
    for (float bound : new float[] {-5, -1.5f, 0, 2.25f, 40}) {
      long key = random.nextLong();
      int from = 32 * random.nextInt(3);

      marks.mark(list, from, count, key, bound);

      List<Integer> marked = new ArrayList<>();
      for (int place = marks.next(0); place >= 0; place = marks.next(place + 1)) {
        marked.add(place);
      }
      assertThat(marked)
          .isEqualTo(
              IntStream.range(0, count)
                  .filter(
                      place ->
                          IdMarks.zeros(key, list.ids().values()[from + place])
                                  + list.powers().values()[from + place]
                              > bound)
                  .boxed()
                  .toList());
    }
  }

  @Test
  void random_idsInARow_areTheNumbersOfSplittableRandom() {
    long seed = 42;
    SplittableRandom random = new SplittableRandom(seed);
    for (int id = 1; id < 100; id++) {
      assertThat(IdMarks.random(seed, id)).isEqualTo(random.nextLong());
      assertThat(IdMarks.zeros(seed, id))
          .isEqualTo(Long.numberOfLeadingZeros(SplitMix.mixed(seed + SplitMix.GOLDEN * id)));
    }
  }
}
