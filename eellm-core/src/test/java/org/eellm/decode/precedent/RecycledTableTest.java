package org.eellm.decode.precedent;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

final class RecycledTableTest {
  @Test
  void follower_randomPairs_isTheOneLearnedLastUnlessAnotherWasSure() {
    RecycledTable table = new RecycledTable();
    Map<List<Integer>, int[]> expected = new HashMap<>(); // token and sureness
    Random random = new Random(1);
    for (int i = 0; i < 20_000; i++) {
      List<Integer> pair = List.of(random.nextInt(20), random.nextInt(20));
      int best = random.nextInt(4) == 0 ? random.nextInt(3) : pair.getFirst();
      table.learn(pair.getFirst(), pair.getLast(), best);
      int[] known = expected.computeIfAbsent(pair, _ -> new int[] {best, -1});
      if (known[0] == best) {
        known[1] = Math.min(7, known[1] + 1);
      } else if (known[1] > 1) {
        known[1] /= 2;
      } else {
        known[0] = best;
        known[1] = 0;
      }
    }

    assertThat(expected).hasSize(400);
    int same = 0;
    for (Map.Entry<List<Integer>, int[]> entry : expected.entrySet()) {
      int place = table.find(entry.getKey().getFirst(), entry.getKey().getLast());
      same +=
          place != RecycledTable.NONE
                  && table.follower(place) == entry.getValue()[0]
                  && table.sureness(place) == entry.getValue()[1]
              ? 1
              : 0;
    }
    assertThat(same).isGreaterThan(390); // a few pairs share a place
    assertThat(table.find(5, 25)).isEqualTo(RecycledTable.NONE);
  }
}
