package org.eellm.generate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.eellm.tensor.kernel.CachedAttention.Run;

/**
 * The keys and values of a sequence: which pages of the pool they lie in. Attentions are numbered
 * as {@link org.eellm.model.KeyValues#attend} says.
 */
final class SequenceCache implements AutoCloseable {
  private final PagePool pool;
  private final int[] pages;
  private final List<Run> runs;

  /**
   * @param pages in order of positions; this is a user of each, and lets go of them on closing
   */
  SequenceCache(PagePool pool, int[] pages) {
    this.pool = pool;
    this.pages = pages;
    runs = runs(pages);
  }

  private static List<Run> runs(int[] pages) {
    List<Run> runs = new ArrayList<>();
    int first = 0;
    for (int i = 1; i <= pages.length; i++) {
      if (i == pages.length || pages[i] != pages[i - 1] + 1) {
        runs.add(
            new Run(
                first * PagePool.PAGE, pages[first] * PagePool.PAGE, (i - first) * PagePool.PAGE));
        first = i;
      }
    }
    return List.copyOf(runs);
  }

  /** A cache that begins with the first {@code length} positions of this one, as large as this. */
  SequenceCache fork(int length) {
    int whole = length / PagePool.PAGE;
    int[] own = pool.take(pages.length - whole);
    if (length % PagePool.PAGE > 0) {
      pool.copy(pages[whole], own[0]);
    }
    int[] forked = Arrays.copyOf(pages, pages.length);
    for (int i = 0; i < whole; i++) {
      pool.share(pages[i]);
    }
    System.arraycopy(own, 0, forked, whole, own.length);
    return new SequenceCache(pool, forked);
  }

  /** The pages of the positions, in order. */
  int[] pages() {
    return Arrays.copyOf(pages, pages.length);
  }

  /** Where the positions below {@code length} lie. */
  List<Run> runs(int length) {
    return runs(0, length);
  }

  private List<Run> runs(int first, int end) {
    List<Run> parts = new ArrayList<>(1);
    for (Run run : runs) {
      int from = Math.max(first, run.position());
      int to = Math.min(end, run.end());
      if (from < to) {
        parts.add(new Run(from, run.row() + from - run.position(), to - from));
      }
    }
    return parts;
  }

  /**
   * Stores the keys and values of consecutive positions.
   *
   * @param keyValue keys of all heads, then values, [n, 2 K, D]
   */
  void write(int slot, int first, Tensor keyValue) {
    Tensor all = memory(slot, keyValue);
    int count = (int) keyValue.size(0);
    Tensor byHead = keyValue.transpose(0, 1); // [2 K, n, D]
    for (Run run : runs(first, first + count)) {
      Tensor part =
          run.count() == count ? byHead : byHead.narrow(1, run.position() - first, run.count());
      all.narrow(1, run.row(), run.count()).copy_(part);
    }
  }

  /** Where a position lies. */
  int row(int position) {
    return pages[position / PagePool.PAGE] * PagePool.PAGE + position % PagePool.PAGE;
  }

  /**
   * Where all keys and values of an attention lie, [2 K, rows, D].
   *
   * @param keyValue what is to be stored there, [n, 2 K, D]
   */
  Tensor memory(int slot, Tensor keyValue) {
    return pool.slot(slot, keyValue).all();
  }

  /** The keys of a run, [1, K, count, D]. */
  Tensor keys(int slot, Run run) {
    return pool.slot(slot).keys().narrow(2, run.row(), run.count());
  }

  /** The values of a run, [1, K, count, D]. */
  Tensor values(int slot, Run run) {
    return pool.slot(slot).values().narrow(2, run.row(), run.count());
  }

  @Override
  public void close() {
    for (int page : pages) {
      pool.release(page);
    }
  }
}
