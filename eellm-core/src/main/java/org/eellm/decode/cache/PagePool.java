package org.eellm.decode.cache;

import java.util.BitSet;
import org.eellm.decode.engine.ModelRunner;

/**
 * Who uses which pages of a runner's keys and values. Several sequences may use a page; it is free
 * when the last of them lets go of it and nobody keeps it for later.
 *
 * <p>Pages that follow each other lie so in memory: what a sequence takes at once is, where
 * possible, one run.
 */
public final class PagePool {
  private final int[] users; // by page
  private final BitSet kept;
  private final BitSet free;
  private int used;

  public PagePool(int pages) {
    users = new int[pages];
    kept = new BitSet(pages);
    free = new BitSet(pages);
    free.set(0, pages);
  }

  /** How many pages that many positions take. */
  public static int pages(int positions) {
    return Math.ceilDiv(positions, ModelRunner.PAGE);
  }

  public int size() {
    return users.length;
  }

  public int free() {
    return free.cardinality();
  }

  /** How many pages have users. */
  public int used() {
    return used;
  }

  boolean isUsed(int page) {
    return users[page] > 0;
  }

  /** Takes free pages, each with one user: the smallest run that is long enough, or the longest. */
  public int[] take(int count) {
    if (count > free()) {
      throw new IllegalStateException(count + " pages are more than the " + free() + " free ones");
    }
    int[] pages = new int[count];
    int taken = 0;
    while (taken < count) {
      int page = bestRun(count - taken);
      for (; taken < count && free.get(page); page++) {
        free.clear(page);
        share(page);
        pages[taken++] = page;
      }
    }
    return pages;
  }

  private int bestRun(int wanted) {
    int best = -1;
    int bestLength = 0;
    for (int first = free.nextSetBit(0); first >= 0; ) {
      int end = free.nextClearBit(first);
      int length = end - first;
      boolean better =
          bestLength < wanted ? length > bestLength : length >= wanted && length < bestLength;
      if (better) {
        best = first;
        bestLength = length;
      }
      first = free.nextSetBit(end);
    }
    return best;
  }

  /** Adds a user to a page. */
  public void share(int page) {
    if (users[page]++ == 0) {
      used++;
    }
  }

  /** Takes a user from a page. */
  public void release(int page) {
    if (--users[page] == 0) {
      used--;
      free.set(page, !kept.get(page));
    }
  }

  /** Keeps a page in use for later, when it has no users. */
  void keep(int page) {
    kept.set(page);
  }

  /** Keeps a page no longer. */
  void forget(int page) {
    kept.clear(page);
    free.set(page, users[page] == 0);
  }
}
