package org.eellm.decode.speculate;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.eellm.checkpoint.DraftTable;
import org.eellm.decode.token.Tokens;
import org.junit.jupiter.api.Test;

final class PromptLookupTest {
  private static Tokens tokens(Integer... ids) {
    return new Tokens(List.of(ids), 1000);
  }

  private static PromptLookup lookup(Tokens tokens) {
    return lookup(tokens, DraftTable.none());
  }

  private static PromptLookup lookup(Tokens tokens, DraftTable table) {
    PromptLookup lookup = new PromptLookup(tokens, PromptLookup.typical(), table);
    lookup.follow();
    return lookup;
  }

  @Test
  void expected_lastTokensCameBefore_isWhatFollowedThem() {
    Tokens tokens = tokens(7, 1, 2, 3, 4, 8, 9, 1, 2);
    PromptLookup lookup = lookup(tokens);

    assertThat(ahead(lookup, 3)).containsExactly(3, 4, 8);
  }

  @Test
  void expected_twoPlaces_isTheLongestMatchAndThenTheNewest() {
    Tokens longest = tokens(5, 1, 2, 30, 6, 1, 2, 40, 5, 1, 2);
    assertThat(ahead(lookup(longest), 1)).containsExactly(30);
    Tokens newest = tokens(7, 1, 2, 30, 6, 1, 2, 40, 5, 1, 2);
    assertThat(ahead(lookup(newest), 1)).containsExactly(40);
  }

  @Test
  void expected_textThatEndsInALoop_goesOnWithIt() {
    Tokens tokens = tokens(1, 2, 1, 2, 1, 2);

    assertThat(ahead(lookup(tokens), 5)).containsExactly(1, 2, 1, 2, 1);
  }

  /** At most so many tokens that are expected next. */
  private static List<Integer> ahead(PromptLookup lookup, int most) {
    List<Integer> expected = new ArrayList<>();
    while (expected.size() < most && lookup.expectsFurther()) {
      expected.add(lookup.expected(expected.size()));
    }
    return expected;
  }

  @Test
  void expectsFurther_onlyOneTokenCameBefore_isFalse() {
    assertThat(lookup(tokens(1, 2, 3, 1)).expectsFurther()).isFalse();
    assertThat(lookup(tokens(1)).expectsFurther()).isFalse();
  }

  @Test
  void expected_pairThatNeverCameBefore_isWhatTheTableHas() {
    int[] counted = {1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4};
    DraftTable table = DraftTable.count(counted, 10);

    // 4 1 came twice only, which may be chance.
    assertThat(ahead(lookup(tokens(9, 1, 2), table), 5)).containsExactly(3, 4);
    assertThat(ahead(lookup(tokens(1, 2, 7, 1, 2), table), 1)).containsExactly(7);
    assertThat(ahead(lookup(tokens(2, 1), table), 5)).isEmpty();
  }

  @Test
  void chance_table_isLearnedFromWhatHeldInTheText() {
    int[] counted = new int[4 * 120];
    Arrays.setAll(counted, i -> 40 * (i % 3) + i / 3 % 40); // 0 40 80 1 41 81 ...
    DraftTable table = DraftTable.count(counted, 1000);
    Integer[] same = new Integer[92];
    Arrays.setAll(same, i -> counted[i]);
    Integer[] others = new Integer[92];
    Arrays.setAll(others, i -> i % 3 == 2 ? 999 : counted[i]);

    assertThat(chance(lookup(tokens(same), table))).isGreaterThan(0.9);
    assertThat(chance(lookup(tokens(others), table))).isLessThan(0.2);
  }

  @Test
  void expected_randomText_isWhatASearchFinds() {
    Random random = new Random(1);
    Tokens tokens = tokens(0);
    PromptLookup lookup = lookup(tokens);
    int found = 0;
    for (int i = 0; i < 900; i++) {
      tokens.append(random.nextInt(40));
      lookup.follow();
      boolean expected = false;
      for (int place = 2; place < tokens.size(); place++) {
        expected |=
            tokens.get(place - 1) == tokens.get(tokens.size() - 1)
                && tokens.get(place - 2) == tokens.get(tokens.size() - 2);
      }
      assertThat(lookup.expectsFurther()).isEqualTo(expected);
      found += expected ? 1 : 0;
    }
    assertThat(found).isPositive();
  }

  @Test
  void chance_whatHeldBefore_isLearnedFromTheTextItself() {
    Tokens loop = tokens(1, 2, 3);
    Tokens others = tokens(1, 2);
    Random random = new Random(1);
    for (int i = 0; i < 300; i++) {
      loop.append(1 + i % 3);
      others.append(random.nextInt(4));
    }

    assertThat(chance(lookup(loop))).isGreaterThan(0.9);
    assertThat(chance(lookup(others))).isLessThan(0.5);
  }

  /** Of the next token, of which something is expected. */
  private static double chance(PromptLookup lookup) {
    assertThat(lookup.expectsFurther()).isTrue();
    return lookup.chance();
  }
}
