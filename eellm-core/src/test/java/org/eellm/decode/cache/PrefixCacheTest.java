package org.eellm.decode.cache;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.token.Tokens;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class PrefixCacheTest {
  private static final int PAGES = 24;

  /** Texts of pages that have one of two tokens each. */
  private static Tokens text(List<Integer> pages) {
    List<Integer> ids = new ArrayList<>();
    pages.forEach(page -> IntStream.range(0, ModelRunner.PAGE).forEach(_ -> ids.add(page)));
    return new Tokens(ids, ids.size());
  }

  /** What is cached, and when it was last asked for, by looking at all of it each time. */
  private static final class Reference {
    private final Map<List<Integer>, Integer> used = new HashMap<>();
    private int clock;

    int known(List<Integer> text) {
      int known = 0;
      while (known < text.size() && used.containsKey(text.subList(0, known + 1))) {
        known++;
        used.put(text.subList(0, known), clock++);
      }
      return known;
    }

    void add(List<Integer> text) {
      for (int end = 1; end <= text.size(); end++) {
        used.put(text.subList(0, end), clock++);
      }
    }

    void evict(int count) {
      for (int i = 0; i < count; i++) {
        used.keySet().stream()
            .filter(text -> used.keySet().stream().noneMatch(other -> isBefore(text, other)))
            .min(Comparator.comparing(used::get))
            .ifPresent(used::remove);
      }
    }

    private static boolean isBefore(List<Integer> text, List<Integer> other) {
      return other.size() > text.size() && other.subList(0, text.size()).equals(text);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4, 5, 6, 7, 8})
  void evict_randomTexts_forgetsTheLeastRecentlyUsedEnds(int seed) {
    Random random = new Random(seed);
    PagePool pool = new PagePool(PAGES);
    PrefixCache cache = new PrefixCache(pool);
    Reference reference = new Reference();
    for (int step = 0; step < 400; step++) {
      List<Integer> text =
          random.ints(1 + random.nextInt(5), 0, 2).boxed().toList(); // of so many pages
      Tokens tokens = text(text);
      List<Integer> known = cache.find(tokens, tokens.size(), Set.of(), 0);
      assertThat(known).hasSize(reference.known(text));
      known.forEach(pool::share);
      int further = text.size() - known.size();
      reference.evict(further - pool.free());
      cache.evictUntilFree(further);
      int[] own = pool.allocate(further);
      int[] pages =
          IntStream.concat(known.stream().mapToInt(i -> i), IntStream.of(own)).toArray();
      cache.add(cache.cursor(Set.of(), 0), tokens, tokens.size(), pages);
      reference.add(text);
      IntStream.of(pages).forEach(pool::release);
      assertThat(pool.free()).isEqualTo(PAGES - reference.used.size());
    }
  }

  @Test
  void evict_moreThanIsUnused_forgetsNothing() {
    PagePool pool = new PagePool(4);
    PrefixCache cache = new PrefixCache(pool);
    Tokens tokens = text(List.of(1, 2));
    int[] pages = pool.allocate(2);
    cache.add(cache.cursor(Set.of(), 0), tokens, tokens.size(), pages);
    IntStream.of(pages).forEach(pool::release);
    pool.allocate(1); // another's

    cache.evictUntilFree(4);

    assertThat(cache.find(tokens, tokens.size(), Set.of(), 0)).hasSize(2);
    cache.evictUntilFree(3);
    assertThat(cache.find(tokens, tokens.size(), Set.of(), 0)).isEmpty();
  }
}
