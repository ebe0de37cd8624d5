package org.eellm.decode.cache;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

final class PagePoolTest {
  @Test
  void take_emptyPool_isOneRun() {
    PagePool pool = new PagePool(8);
    assertThat(pool.allocate(3)).containsExactly(0, 1, 2);
    assertThat(pool.allocate(2)).containsExactly(3, 4);
    assertThat(pool.free()).isEqualTo(3);
    assertThat(pool.used()).isEqualTo(5);
  }

  @Test
  void take_gapsOfManySizes_isTheSmallestThatIsLongEnough() {
    PagePool pool = new PagePool(10);
    pool.allocate(10);
    for (int page : new int[] {0, 1, 2, 4, 5, 7, 8, 9}) {
      pool.release(page);
    }
    assertThat(pool.allocate(2)).containsExactly(4, 5);
    assertThat(pool.allocate(4)).containsExactly(0, 1, 2, 7);
    assertThatThrownBy(() -> pool.allocate(3)).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void release_pageOfTwoUsers_isFreeWithTheLast() {
    PagePool pool = new PagePool(2);
    int page = pool.allocate(1)[0];
    pool.share(page);
    pool.release(page);
    assertThat(pool.free()).isEqualTo(1);
    pool.release(page);
    assertThat(pool.free()).isEqualTo(2);
  }

  @Test
  void keep_pageWithoutUsers_isNotFreeUntilForgotten() {
    PagePool pool = new PagePool(2);
    int page = pool.allocate(1)[0];
    pool.markCached(page);
    pool.release(page);
    assertThat(pool.free()).isEqualTo(1);
    assertThat(pool.used()).isZero();
    pool.share(page);
    pool.evict(page);
    assertThat(pool.free()).isEqualTo(1);
    pool.release(page);
    assertThat(pool.free()).isEqualTo(2);
  }
}
