package org.eellm.decode.speculate;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.eellm.decode.token.Tokens;
import org.junit.jupiter.api.Test;

final class PromptLookupTest {
  private static Tokens tokens(Integer... ids) {
    return new Tokens(List.of(ids), 1000);
  }

  private static PromptLookup lookup(Tokens tokens) {
    PromptLookup lookup = new PromptLookup(tokens, PromptLookup.typical());
    lookup.follow();
    return lookup;
  }

  @Test
  void expected_lastTokensCameBefore_isWhatFollowedThem() {
    Tokens tokens = tokens(7, 1, 2, 3, 4, 8, 9, 1, 2);
    PromptLookup lookup = lookup(tokens);

    assertThat(lookup.matches()).isTrue();
    assertThat(ahead(lookup, tokens, 3)).containsExactly(3, 4, 8);
  }

  @Test
  void expected_twoPlaces_isTheLongestMatchAndThenTheNewest() {
    Tokens longest = tokens(5, 1, 2, 30, 6, 1, 2, 40, 5, 1, 2);
    assertThat(lookup(longest).expected(0)).isEqualTo(30);
    Tokens newest = tokens(7, 1, 2, 30, 6, 1, 2, 40, 5, 1, 2);
    assertThat(lookup(newest).expected(0)).isEqualTo(40);
  }

  @Test
  void expected_textThatEndsInALoop_goesOnWithIt() {
    Tokens tokens = tokens(1, 2, 1, 2, 1, 2);

    assertThat(ahead(lookup(tokens), tokens, 5)).containsExactly(1, 2, 1, 2, 1);
  }

  /** What is expected next, each added to the text as a draft is. */
  private static List<Integer> ahead(PromptLookup lookup, Tokens tokens, int count) {
    List<Integer> expected = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      expected.add(lookup.expected(i));
      tokens.append(expected.getLast());
    }
    return expected;
  }

  @Test
  void matches_onlyOneTokenCameBefore_isFalse() {
    assertThat(lookup(tokens(1, 2, 3, 1)).matches()).isFalse();
    assertThat(lookup(tokens(1)).matches()).isFalse();
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
      assertThat(lookup.matches()).isEqualTo(expected);
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

    assertThat(lookup(loop).chance(0)).isGreaterThan(0.9);
    assertThat(lookup(others).chance(0)).isLessThan(0.5);
  }
}
