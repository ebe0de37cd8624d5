package org.eellm.decode.cache;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;

final class PageTableTest {
  @Test
  void inTurn_fewerThanPlaces_areUsedAgainAndReleasedOnce() {
    PagePool pool = new PagePool(8);
    List<Integer> first = List.of(pool.allocate(1)[0], pool.allocate(1)[0]);
    try (PageTable table = PageTable.inTurn(pool, first, pool.allocate(3), 9)) {
      assertThat(table.pages()).containsExactly(0, 1, 2, 3, 4, 2, 3, 4, 2);
      assertThat(table.usesPagesAgain()).isTrue();
    }
    assertThat(pool.free()).isEqualTo(8);
  }

  @Test
  void inTurn_asManyAsPlaces_areUsedOnce() {
    PagePool pool = new PagePool(8);
    try (PageTable table = PageTable.inTurn(pool, List.of(), pool.allocate(3), 3)) {
      assertThat(table.pages()).containsExactly(0, 1, 2);
      assertThat(table.usesPagesAgain()).isFalse();
    }
  }
}
