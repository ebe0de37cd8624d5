package org.eellm.decode.cache;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.NavigableSet;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.eellm.config.HeadId;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.token.Tokens;
import org.jspecify.annotations.Nullable;

/**
 * Pages whose keys and values are complete at all layers, found again by the tokens they stand for
 * and all tokens before them: a tree for each adapter, in which a page is a node. So prompts that
 * begin alike are computed once.
 *
 * <p>What no sequence uses stays until its memory is wanted; then the least recently used goes
 * first, and leaves before what is in front of them.
 */
public final class PrefixCache {
  private static final int NO_PAGE = -1;

  private final PagePool pool;
  private final Map<Integer, Node> roots = new HashMap<>(); // by adapter
  private final NavigableSet<Node> leaves = // least recently used first
      new TreeSet<>(Comparator.comparingLong((Node node) -> node.used));
  private long clock;

  /** A page's ids. */
  private static final class Key {
    private final int[] ids;
    private final int hash;

    Key(int[] ids) {
      this.ids = ids;
      hash = Arrays.hashCode(ids);
    }

    @Override
    public int hashCode() {
      return hash;
    }

    @Override
    public boolean equals(Object other) {
      return other instanceof Key key && Arrays.equals(ids, key.ids);
    }
  }

  private static final class Node {
    private final @Nullable Node parent; // null for a root
    private final Key tokens;
    private final Map<Key, Node> children = new HashMap<>();
    private int page;
    private Set<HeadId> heads;
    private long used;
    private boolean isEvicted;

    Node(@Nullable Node parent, Key tokens, int page, Set<HeadId> heads) {
      this.parent = parent;
      this.tokens = tokens;
      this.page = page;
      this.heads = heads;
    }
  }

  /** How far a sequence's pages are known. */
  public static final class Cursor {
    private final Set<HeadId> heads; // names of those with attention in use
    private final Node root;
    private Node last;
    private int pages;

    private Cursor(Set<HeadId> heads, Node root) {
      this.heads = heads;
      this.root = root;
      last = root;
    }
  }

  public PrefixCache(PagePool pool) {
    this.pool = pool;
  }

  /**
   * The pages of the longest known beginning, in order. Whoever goes on with them shares them
   * first.
   *
   * @param heads names of the heads with attention whose keys and values are needed too
   * @param adapter by which they were computed, from 1; 0 for none
   */
  public List<Integer> find(Tokens tokens, int length, Set<HeadId> heads, int adapter) {
    List<Integer> pages = new ArrayList<>();
    Node last = root(adapter);
    for (int end = ModelRunner.PAGE; end <= length; end += ModelRunner.PAGE) {
      Node node = last.children.get(key(tokens, end - ModelRunner.PAGE));
      if (node == null || !node.heads.containsAll(heads)) {
        break;
      }
      touch(node);
      pages.add(node.page);
      last = node;
    }
    return pages;
  }

  private Node root(int adapter) {
    return roots.computeIfAbsent(
        adapter, _ -> new Node(null, new Key(new int[0]), NO_PAGE, Set.of()));
  }

  private static Key key(Tokens tokens, int first) {
    return new Key(tokens.ids(first, first + ModelRunner.PAGE));
  }

  /**
   * A sequence none of whose pages are known.
   *
   * @param heads names of the heads with attention for which its pages will be complete too
   * @param adapter of the sequence, from 1; 0 for none
   */
  public Cursor cursor(Set<HeadId> heads, int adapter) {
    return new Cursor(heads, root(adapter));
  }

  /**
   * Makes pages known that have become complete.
   *
   * @param length positions that are complete; what is beyond the last whole page does not count
   * @param pages those of the positions, in order
   */
  public void add(Cursor cursor, Tokens tokens, int length, int[] pages) {
    int whole = length / ModelRunner.PAGE;
    if (cursor.pages < whole && cursor.last.isEvicted) {
      cursor.last = cursor.root;
      cursor.pages = 0;
    }
    while (cursor.pages < whole) {
      Key key = key(tokens, cursor.pages * ModelRunner.PAGE);
      cursor.last = node(cursor.last, key, pages[cursor.pages], cursor.heads);
      cursor.pages++;
    }
  }

  private Node node(Node last, Key key, int page, Set<HeadId> heads) {
    Node node = last.children.get(key);
    if (node == null) {
      leaves.remove(last);
      node = new Node(last, key, page, heads);
      last.children.put(key, node);
      pool.markCached(page);
    } else if (!node.heads.containsAll(heads)) {
      pool.evict(node.page);
      pool.markCached(page);
      node.page = page;
      node.heads = heads;
    }
    touch(node);
    return node;
  }

  private void touch(Node node) {
    leaves.remove(node);
    node.used = ++clock;
    if (node.children.isEmpty()) {
      leaves.add(node);
    }
  }

  /** Forgets unused pages until the pool has {@code count} free ones; none if it cannot have. */
  public void evictUntilFree(int count) {
    if (count > pool.size() - pool.used()) {
      return;
    }
    while (pool.free() < count) {
      // As many leaves as sequences run are in use.
      Optional<Node> oldest =
          leaves.stream().filter(leaf -> !pool.isUsed(leaf.page)).findFirst();
      if (oldest.isEmpty()) {
        return;
      }
      evict(oldest.get());
    }
  }

  private void evict(Node node) {
    leaves.remove(node);
    node.isEvicted = true;
    pool.evict(node.page);
    Node parent = node.parent;
    if (parent != null) {
      parent.children.remove(node.tokens);
      if (parent.children.isEmpty() && parent.parent != null) {
        leaves.add(parent);
      }
    }
  }
}
