package org.eellm.generate;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Pages whose keys and values are complete at all layers, found again by the tokens they stand for
 * and all tokens before them: a tree in which a page is a node. So prompts that begin alike are
 * computed once.
 *
 * <p>What no sequence uses stays until its memory is wanted; then the least recently used goes
 * first, and leaves before what is in front of them.
 */
final class PrefixCache {
  private final PagePool pool;
  private final Map<List<Integer>, Node> first = new HashMap<>();
  private final Set<Node> all = new HashSet<>();
  private long clock;

  private static final class Node {
    private final Map<List<Integer>, Node> siblings; // the map that this is in
    private final List<Integer> tokens;
    private final Map<List<Integer>, Node> next = new HashMap<>();
    private int page;
    private Set<String> heads;
    private long used;

    Node(Map<List<Integer>, Node> siblings, List<Integer> tokens, int page, Set<String> heads) {
      this.siblings = siblings;
      this.tokens = tokens;
      this.page = page;
      this.heads = heads;
    }
  }

  PrefixCache(PagePool pool) {
    this.pool = pool;
  }

  /**
   * The pages of the longest known beginning, in order. Whoever goes on with them shares them
   * first.
   *
   * @param heads names of the heads with attention whose keys and values are needed too
   */
  List<Integer> find(Tokens tokens, int length, Set<String> heads) {
    List<Integer> pages = new ArrayList<>();
    Map<List<Integer>, Node> next = first;
    for (int end = PagePool.PAGE; end <= length; end += PagePool.PAGE) {
      Node node = next.get(tokens.range(end - PagePool.PAGE, end));
      if (node == null || !node.heads.containsAll(heads)) {
        break;
      }
      node.used = ++clock;
      pages.add(node.page);
      next = node.next;
    }
    return pages;
  }

  /**
   * Makes pages known.
   *
   * @param length positions that are complete; what is beyond the last whole page does not count
   * @param pages those of the positions, in order
   * @param heads names of the heads with attention for which they are complete too
   */
  void add(Tokens tokens, int length, int[] pages, Set<String> heads) {
    Map<List<Integer>, Node> next = first;
    for (int i = 0; (i + 1) * PagePool.PAGE <= length; i++) {
      List<Integer> key = tokens.range(i * PagePool.PAGE, (i + 1) * PagePool.PAGE);
      Node node = next.get(key);
      if (node == null) {
        node = new Node(next, key, pages[i], heads);
        next.put(key, node);
        all.add(node);
        pool.keep(node.page);
      } else if (!node.heads.containsAll(heads)) {
        pool.forget(node.page);
        pool.keep(pages[i]);
        node.page = pages[i];
        node.heads = heads;
      }
      node.used = ++clock;
      next = node.next;
    }
  }

  /** Forgets unused pages until the pool has {@code count} free ones, or none is left to forget. */
  void makeRoom(int count) {
    while (pool.free() < count) {
      Optional<Node> oldest =
          all.stream()
              .filter(node -> node.next.isEmpty() && !pool.isUsed(node.page))
              .min(Comparator.comparingLong(node -> node.used));
      if (oldest.isEmpty()) {
        return;
      }
      Node node = oldest.get();
      node.siblings.remove(node.tokens);
      all.remove(node);
      pool.forget(node.page);
    }
  }
}
