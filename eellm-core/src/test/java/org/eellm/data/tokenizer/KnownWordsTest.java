package org.eellm.data.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class KnownWordsTest {
  private final KnownWords known = new KnownWords();

  @Test
  void addTokens_moreWordsThanFit_givesOnlyTheirOwnTokens() {
    int words = 600_000;
    for (int i = 0; i < words; i++) {
      known.put(word(i), new int[] {i, -i});
    }
    int found = 0;
    for (int i = 0; i < words; i++) {
      BytePairEncoder.Ids tokens = new BytePairEncoder.Ids(1);
      String text = " " + word(i) + " ";
      if (known.addTokens(text, 1, text.length() - 1, tokens)) {
        assertThat(tokens.toArray()).containsExactly(i, -i);
        found++;
      } else {
        assertThat(tokens.toArray()).isEmpty();
      }
    }
    assertThat(found).isBetween(1, words - 1);
    assertThat(known.addTokens(word(words - 1), 0, 6, new BytePairEncoder.Ids(1))).isTrue();
  }

  @Test
  void addTokens_ofAnUnknownWord_addsNothing() {
    known.put("cat", new int[] {7});
    BytePairEncoder.Ids tokens = new BytePairEncoder.Ids(1);

    assertThat(known.addTokens("cats", 0, 4, tokens)).isFalse();
    assertThat(known.addTokens("ca", 0, 2, tokens)).isFalse();
    assertThat(known.addTokens("cats", 0, 3, tokens)).isTrue();
    assertThat(tokens.toArray()).containsExactly(7);
  }

  @Test
  void most_ofASmallHeap_isLess() {
    assertThat(KnownWords.most(16L << 20)).isEqualTo(1 << 18);
    assertThat(KnownWords.most(512L << 20)).isEqualTo(1 << 21);
    assertThat(KnownWords.most(16L << 30)).isEqualTo(1 << 22);
  }

  @Test
  void addTokens_whileAnotherThreadLearns_findsWholeWords() throws Exception {
    AtomicInteger learned = new AtomicInteger();
    Thread learner =
        Thread.ofPlatform()
            .start(
                () -> {
                  for (int i = 0; i < 200_000; i++) {
                    known.put(word(i), new int[] {i, -i});
                    learned.set(i + 1);
                  }
                });
    int found = 0;
    while (learner.isAlive()) {
      for (int i = Math.max(learned.get() - 5, 0); i < learned.get() + 5; i++) {
        BytePairEncoder.Ids tokens = new BytePairEncoder.Ids(2);
        if (known.addTokens(word(i), 0, 6, tokens)) {
          assertThat(tokens.toArray()).containsExactly(i, -i);
          found++;
        }
      }
    }
    learner.join();
    assertThat(found).isPositive();
  }

  private static String word(int number) {
    return "%06d".formatted(number);
  }
}
