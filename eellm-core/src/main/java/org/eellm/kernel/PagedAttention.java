package org.eellm.kernel;

import java.util.Objects;
import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.CpuLevel;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeInts;
import org.eellm.kernel.vector.NativeNumbers;

/**
 * Attention of some rows of a sequence over its pages of keys and values: a few pages at a time,
 * with a running maximum and sum in place of a matrix of scores. What a row gives depends neither
 * on the rows beside it nor on where pages lie.
 *
 * <p>Belongs to one thread.
 */
public final class PagedAttention implements AutoCloseable {
  static final int VECTORS = 4; // of scores, and of a value, worked on together
  static final int GROUP = VECTORS * NativeNumbers.WIDTH; // positions worked on together

  private final PageLayout layout;
  private final AttentionKernel kernel;
  private final NativeBuffer lastPage; // of a row on its own, without what comes after the row
  private final NativeInts onlyLimit = new NativeInts(1);
  private final long outBytes; // from a row of what comes out to the next

  /**
   * Where queries are: some that share keys and values in each of some rows. Filled anew for each
   * call, which takes no memory.
   */
  public static final class Queries {
    private long address;
    private long rowBytes;
    private int rows;
    private int group;

    public Queries() {}

    /**
     * Queries in memory.
     *
     * @param address of the first row's first
     * @param rowBytes from a row to the next
     * @param group queries of a row, [group, width]
     */
    public Queries at(long address, long rowBytes, int rows, int group) {
      this.address = address;
      this.rowBytes = rowBytes;
      this.rows = rows;
      this.group = group;
      return this;
    }

    private long address(int index, int width) {
      return address + index / group * rowBytes + 4L * (index % group) * width;
    }
  }

  private PagedAttention(PageLayout layout, AttentionKernel kernel) {
    this.layout = layout;
    this.kernel = kernel;
    outBytes = 4L * layout.valueWidth();
    lastPage = NativeBuffer.allocate(layout.bytes());
  }

  /** Attention over pages of this layout in Java, by the Vector API where the process has that. */
  public static PagedAttention java(PageLayout layout, ScoreFunction scores) {
    return java(layout, scores, CpuLevel.hasVectors());
  }

  static PagedAttention java(PageLayout layout, ScoreFunction scores, boolean vectors) {
    return new PagedAttention(layout, new JavaAttention(layout, scores, vectors));
  }

  /** Attention over pages of this layout, by machine code where the processor takes it. */
  public static PagedAttention fastest(PageLayout layout, ScoreFunction scores) {
    if (RowKernel.isMachineCode()) {
      return new PagedAttention(layout, new MachineAttention(layout, scores));
    }
    return NeonAttention.of(layout, scores)
        .map(kernel -> new PagedAttention(layout, kernel))
        .orElseGet(() -> java(layout, scores));
  }

  /** What {@link #fastest} takes, in words. */
  public static String text() {
    if (RowKernel.isMachineCode()) {
      return "machine code, %d bits".formatted(NativeNumbers.BYTES * Byte.SIZE);
    }
    if (CpuLevel.chosen() == CpuLevel.NEON) {
      return "machine code, NEON";
    }
    return CpuLevel.hasVectors() ? "Vector API" : "Java";
  }

  /**
   * Rotates a head's numbers j and j + width / 2, which are a pair, for each of so many cosines and
   * sines.
   *
   * @param head address of [width]
   * @param cosines address of [pairs], as of the sines
   */
  public void rotate(long head, long cosines, long sines, int pairs) {
    kernel.rotate(head, cosines, sines, pairs);
  }

  /**
   * Writes a position's key and value. Positions are written in order.
   *
   * @param key address of [width], which is scratch then; nobody else touches it until it is done
   * @param value address of [width], as it is now and stays until it is done
   */
  public void write(long page, int offset, long key, long value) {
    kernel.write(page, offset, key, value);
  }

  /** Does what has been asked for: rotations and writing may wait until then, or for attention. */
  public void finish() {
    kernel.finish();
  }

  /** Forgets what has been asked for and not done, as after a failure. */
  public void forget() {
    kernel.forget();
  }

  /**
   * Lets queries attend, each to the last of the first so many positions, and finishes. Pages that
   * no query sees are not read.
   *
   * @param pages of the sequence
   * @param first address of page 0
   * @param pageBytes from a page to the next
   * @param limits positions up to the last one that each query sees, ascending
   * @param firstLimit the first query's among them
   * @param window positions that each query sees at most; {@link Integer#MAX_VALUE} for all
   * @param out address of [queries, {@link PageLayout#valueWidth}]
   */
  public void attend(
      NativeInts pages,
      long first,
      long pageBytes,
      Queries queries,
      NativeInts limits,
      int firstLimit,
      int window,
      long out) {
    int all = queries.rows * queries.group;
    kernel.window(window);
    for (int from = 0; from < all; from += kernel.rows()) {
      int count = Math.min(kernel.rows(), all - from);
      Objects.checkIndex(
          limits.get(firstLimit + from + count - 1) - 1, pages.length() * PageLayout.POSITIONS);
      take(queries, from, count);
      kernel.sum(pages, first, pageBytes, limits, firstLimit + from, count);
      boolean finite = kernel.divide(count, out + from * outBytes);
      for (int i = from; i < from + count && !finite; i++) {
        if (!isFinite(out + i * outBytes)) {
          attendAlone(
              pages,
              first,
              pageBytes,
              queries.address(i, layout.width()),
              limits.get(firstLimit + i),
              out + i * outBytes);
        }
      }
    }
  }

  private void take(Queries queries, int from, int count) {
    for (int i = 0; i < count; ) {
      int together = Math.min(count - i, queries.group - (from + i) % queries.group);
      kernel.take(i, queries.address(from + i, layout.width()), together);
      i += together;
    }
  }

  private boolean isFinite(long row) {
    for (int i = 0; i < layout.width(); i++) {
      if (!Float.isFinite(NativeNumbers.getFloat(row + 4L * i))) {
        return false;
      }
    }
    return true;
  }

  /**
   * Writes what a row gives where its own numbers are not finite, or those of later positions:
   * these weigh 0, and 0 times NaN is NaN.
   */
  private void attendAlone(
      NativeInts pages, long first, long pageBytes, long query, int limit, long out) {
    int page = (limit - 1) / PageLayout.POSITIONS;
    layout.copyUntil(
        first + pageBytes * pages.get(page),
        limit - page * PageLayout.POSITIONS,
        lastPage.address());
    onlyLimit.copy(new int[] {limit}, 1);
    kernel.replace(page, lastPage.address());
    kernel.take(0, query, 1);
    kernel.sum(pages, first, pageBytes, onlyLimit, 0, 1);
    kernel.divide(1, out);
    kernel.replace(AttentionKernel.NONE, 0);
  }

  @Override
  public void close() {
    kernel.close();
    lastPage.close();
    onlyLimit.close();
  }
}
