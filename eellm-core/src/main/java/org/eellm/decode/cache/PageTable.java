package org.eellm.decode.cache;

import java.util.Arrays;
import org.eellm.decode.engine.ModelRunner;

/** The pages that the keys and values of a sequence lie in. */
public final class PageTable implements AutoCloseable {
  private final PagePool pool;
  private final int[] pages;

  /**
   * @param pages in order of positions; this is a user of each, and lets go of them on closing
   */
  public PageTable(PagePool pool, int[] pages) {
    this.pool = pool;
    this.pages = pages;
  }

  /**
   * A cache that begins with the first {@code length} positions of this one, as large as this.
   *
   * @param runner copies what the two cannot share
   */
  public PageTable fork(int length, ModelRunner runner) {
    int whole = length / ModelRunner.PAGE;
    int[] own = pool.allocate(pages.length - whole);
    if (length % ModelRunner.PAGE > 0) {
      runner.copyPage(pages[whole], own[0]);
    }
    int[] forked = Arrays.copyOf(pages, pages.length);
    for (int i = 0; i < whole; i++) {
      pool.share(pages[i]);
    }
    System.arraycopy(own, 0, forked, whole, own.length);
    return new PageTable(pool, forked);
  }

  /** The pages in order of positions; not to be changed. */
  public int[] pages() {
    return pages;
  }

  @Override
  public void close() {
    for (int page : pages) {
      pool.release(page);
    }
  }
}
