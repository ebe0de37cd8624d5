package org.eellm.decode.speculate;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.eellm.checkpoint.DraftTable;
import org.eellm.decode.precedent.Precedents;
import org.eellm.decode.token.Tokens;
import org.junit.jupiter.api.Test;

final class PrecedentsTest {
  private static Tokens tokens(Integer... ids) {
    return new Tokens(List.of(ids), 1000);
  }

  private static Precedents lookup(Tokens tokens) {
    return lookup(tokens, DraftTable.none());
  }

  private static Precedents lookup(Tokens tokens, DraftTable table) {
    return lookup(tokens, new PrecedentStore(table), true);
  }

  private static Precedents lookup(Tokens tokens, PrecedentStore memory, boolean shared) {
    Precedents lookup = memory.precedents(tokens, DraftSource.TEXT, shared);
    lookup.follow();
    return lookup;
  }

  @Test
  void expected_lastTokensCameBefore_isWhatFollowedThem() {
    Tokens tokens = tokens(7, 1, 2, 3, 4, 8, 9, 1, 2);
    Precedents lookup = lookup(tokens);

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
  private static List<Integer> ahead(Precedents lookup, int most) {
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
    // A short match seldom holds, a table that is so sure mostly.
    assertThat(ahead(lookup(tokens(1, 2, 7, 1, 2), table), 1)).containsExactly(3);
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
    Precedents lookup = lookup(tokens);
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
  private static double chance(Precedents lookup) {
    assertThat(lookup.expectsFurther()).isTrue();
    return lookup.chance();
  }

  @Test
  void expected_tokensThatOnlyAnotherReplyHad_isWhatFollowedThere() {
    PrecedentStore memory = new PrecedentStore(DraftTable.none());
    memory.add(tokens(1, 2, 3, 4, 5, 6, 7, 8), 7); // where 8 is a draft

    assertThat(ahead(lookup(tokens(2, 3, 4, 5), memory, true), 9)).containsExactly(6, 7);
    assertThat(ahead(lookup(tokens(2, 3, 4, 5), memory, false), 9)).isEmpty();
    assertThat(ahead(lookup(tokens(9, 3, 4, 5), memory, true), 9)).isEmpty(); // of four tokens
  }

  @Test
  void expected_promptWhoseEndAnotherHad_isHowItsReplyBegan() {
    PrecedentStore memory = new PrecedentStore(DraftTable.none());
    Tokens before = tokens(50, 51, 1, 2, 3, 4);
    before.append(5);
    before.append(6);
    memory.add(before, before.size());

    assertThat(ahead(lookup(tokens(60, 1, 2, 3, 4), memory, true), 9)).containsExactly(5, 6);
  }

  @Test
  void expected_pairThatTheModelWasAskedFor_isWhatItHeldMostProbable() {
    PrecedentStore memory = new PrecedentStore(DraftTable.none());
    JudgedRows rows = new JudgedRows();
    rows.add(tokens(7), 8);
    rows.add(tokens(9, 1, 2), 3);
    rows.add(tokens(9, 2, 3), 4);
    rows.learn(memory);

    assertThat(ahead(lookup(tokens(5, 1, 2), memory, true), 9)).containsExactly(3, 4);
    assertThat(ahead(lookup(tokens(5, 1, 2), memory, false), 9)).isEmpty();
  }

  @Test
  void expected_severalPrecedents_isOfTheOneThatHolds() {
    PrecedentStore memory = new PrecedentStore(DraftTable.none());
    Random random = new Random(2);
    Tokens text = tokens(0, 1);
    Precedents lookup = lookup(text, memory, true);
    int[][] followers = new int[5][5];
    int right = 0;
    for (int i = 0; i < 400; i++) {
      if (i % 20 == 0) { // pairs lead elsewhere from here on, which the model's table knows
        for (int pair = 0; pair < 25; pair++) {
          followers[pair / 5][pair % 5] = random.nextInt(5);
          for (int times = 0; times < 6; times++) {
            memory.learn(pair / 5, pair % 5, followers[pair / 5][pair % 5]);
          }
        }
      }
      int next = followers[text.get(text.size() - 2)][text.get(text.size() - 1)];
      lookup.follow();
      right += i >= 100 && lookup.expectsFurther() && lookup.expected(0) == next ? 1 : 0;
      text.append(next);
    }

    assertThat(right).isGreaterThan(280);
  }
}
