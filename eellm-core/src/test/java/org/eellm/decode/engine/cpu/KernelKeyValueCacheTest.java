package org.eellm.decode.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.eellm.kernel.vector.NativeNumbers.MEMORY;

import java.util.List;
import org.eellm.kernel.PageLayout;
import org.eellm.kernel.weight.WeightFormat;
import org.junit.jupiter.api.Test;

final class KernelKeyValueCacheTest {
  private static final int HEADS = 3;
  private static final List<Integer> ATTENTIONS = List.of(0, 1, 4);
  private static final PageLayout LAYOUT = new PageLayout(WeightFormat.BFLOAT16, 64);

  private static KernelKeyValueCache cache() {
    return new KernelKeyValueCache(LAYOUT, HEADS, 5, ATTENTIONS);
  }

  /** So that a step which begins a page takes as little new memory as possible. */
  @Test
  void head_ofAllAttentions_liesWithinAPage() {
    try (KernelKeyValueCache cache = cache()) {
      long first = cache.head(0, 0);
      for (int place = 0; place < ATTENTIONS.size(); place++) {
        for (int head = 0; head < HEADS; head++) {
          assertThat(cache.head(ATTENTIONS.get(place), head) - first)
              .isEqualTo((place * HEADS + head) * LAYOUT.bytes());
        }
      }
      assertThat(cache.pageBytes()).isEqualTo(9 * LAYOUT.bytes());
    }
  }

  @Test
  void copy_page_hasTheAttentionsThatHaveRun() {
    try (KernelKeyValueCache cache = cache()) {
      for (int attention : ATTENTIONS) {
        MEMORY.set(JAVA_BYTE, last(cache, attention, 1), (byte) (attention + 1));
      }
      cache.markRun(0);
      cache.markRun(4);
      cache.copy(1, 3);
      assertThat(ATTENTIONS)
          .extracting(attention -> MEMORY.get(JAVA_BYTE, last(cache, attention, 3)))
          .containsExactly((byte) 1, (byte) 0, (byte) 5);
    }
  }

  /** Address of the last byte of an attention's last head. */
  private static long last(KernelKeyValueCache cache, int attention, int page) {
    return cache.head(attention, HEADS - 1) + page * cache.pageBytes() + LAYOUT.bytes() - 1;
  }
}
