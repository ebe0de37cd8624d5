package org.eellm.decode.cache;

import java.util.Arrays;
import java.util.BitSet;
import java.util.stream.LongStream;
import org.eellm.decode.engine.ModelRunner;

/**
 * Who uses which pages of a runner's keys and values. Several sequences may use a page; it is free
 * when the last of them lets go of it and nobody keeps it for later.
 *
 * <p>Pages that follow each other lie so in memory: what a sequence takes at once is, where
 * possible, one run.
 */
public final class PagePool {
  private final int[] refCounts; // by page
  private final BitSet cached;
  private final BitSet free;
  private int freeCount;
  private int used;

  public PagePool(int pages) {
    refCounts = new int[pages];
    cached = new BitSet(pages);
    free = new BitSet(pages);
    free.set(0, pages);
    freeCount = pages;
  }

  /** How many pages that many positions take. */
  public static int pages(int positions) {
    return Math.ceilDiv(positions, ModelRunner.PAGE);
  }

  public int size() {
    return refCounts.length;
  }

  public int free() {
    return freeCount;
  }

  public int used() {
    return used;
  }

  boolean isUsed(int page) {
    return refCounts[page] > 0;
  }

  /** Takes free pages, each with one user: the smallest run that is long enough, or the longest. */
  public int[] allocate(int count) {
    if (count > free()) {
      throw new IllegalStateException(count + " pages are more than the " + free() + " free ones");
    }
    long[] runs = runs();
    int left = runs.length;
    int[] pages = new int[count];
    int taken = 0;
    while (taken < count) {
      long wanted = (long) (count - taken) << Integer.SIZE;
      int enough = ~Arrays.binarySearch(runs, 0, left, wanted - 1); // no run has this number
      long run = enough < left ? runs[enough] : runs[--left];
      for (int page = size() - (int) run; taken < count && free.get(page); page++) {
        setFree(page, false);
        share(page);
        pages[taken++] = page;
      }
    }
    return pages;
  }

  /** The runs of free pages, shortest first: the length above 32 bits that say where it begins. */
  private long[] runs() {
    LongStream.Builder runs = LongStream.builder();
    for (int first = free.nextSetBit(0); first >= 0; ) {
      int end = free.nextClearBit(first);
      runs.add((long) (end - first) << Integer.SIZE | size() - first);
      first = free.nextSetBit(end);
    }
    return runs.build().sorted().toArray();
  }

  private void setFree(int page, boolean value) {
    if (free.get(page) != value) {
      free.set(page, value);
      freeCount += value ? 1 : -1;
    }
  }

  public void share(int page) {
    if (refCounts[page]++ == 0) {
      used++;
    }
  }

  public void release(int page) {
    if (--refCounts[page] == 0) {
      used--;
      setFree(page, !cached.get(page));
    }
  }

  /** Marks a page as cached: it is not freed when its last reference goes. */
  void markCached(int page) {
    cached.set(page);
  }

  /** Unmarks it; it is free if nothing references it. */
  void evict(int page) {
    cached.clear(page);
    setFree(page, refCounts[page] == 0);
  }
}
