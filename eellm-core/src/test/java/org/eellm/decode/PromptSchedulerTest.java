package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

final class PromptSchedulerTest {
  private static int[] share(int... remaining) {
    return PromptScheduler.share(remaining, 256);
  }

  @Test
  void share_onePrompt_getsAll() {
    assertThat(share(1000)).containsExactly(256);
    assertThat(share(20)).containsExactly(20);
    assertThat(share()).isEmpty();
  }

  @Test
  void share_shortBesideLong_getsAllOfItsRows() {
    assertThat(share(2240, 2240, 20)).containsExactly(236, 0, 20);
    assertThat(share(2240, 1000, 20)).containsExactly(64, 172, 20);
  }

  @Test
  void share_oldestBesideManyShort_getsAQuarter() {
    assertThat(share(2240, 90, 100, 80, 70)).containsExactly(64, 42, 0, 80, 70);
  }

  @Test
  void share_anyPrompts_leavesNoRowUnusedAndNoOldestBehind() {
    Random random = new Random(1);
    for (int round = 0; round < 1000; round++) {
      int[] remaining = random.ints(1 + random.nextInt(12), 1, 400).toArray();
      int[] shares = share(remaining);

      assertThat(Arrays.stream(shares).sum())
          .isEqualTo(Math.min(256, Arrays.stream(remaining).sum()));
      assertThat(shares[0]).isGreaterThanOrEqualTo(Math.min(64, remaining[0]));
      for (int i = 0; i < shares.length; i++) {
        assertThat(shares[i]).isBetween(0, remaining[i]);
      }
    }
  }
}
