package org.eellm.kernel;

import java.util.Arrays;
import org.eellm.kernel.machine.RowFunctions;
import org.eellm.kernel.vector.Lanes;
import org.eellm.kernel.vector.NativeBuffer;

/**
 * Attention of some rows of a sequence over its pages of keys and values: a few pages at a time,
 * with a running maximum and sum in place of a matrix of scores. What a row gives depends neither
 * on the rows beside it nor on where pages lie.
 *
 * <p>Belongs to one thread.
 */
public final class PagedAttention implements AutoCloseable {
  static final int VECTORS = 4; // of scores, and of a value, worked on together
  static final int GROUP = VECTORS * Lanes.WIDTH; // positions worked on together
  static final int PAGES = Math.max(1, GROUP / PageLayout.POSITIONS);

  private static final int NONE = -1;

  private final PageLayout layout;
  private final AttentionKernel kernel;
  private final float[] largest; // score of a row so far
  private final long[] keys = new long[4]; // addresses of a group's pages
  private final NativeBuffer lastPage; // of a row on its own, without what comes after the row
  private int replaced = NONE; // the page that this stands for

  private PagedAttention(PageLayout layout, AttentionKernel kernel) {
    this.layout = layout;
    this.kernel = kernel;
    largest = new float[kernel.rows()];
    lastPage = NativeBuffer.allocate(layout.bytes());
  }

  /** Attention over pages of this layout, by the Vector API alone. */
  public static PagedAttention vectors(PageLayout layout) {
    return new PagedAttention(layout, new VectorAttention(layout));
  }

  /** Attention over pages of this layout, by machine code where the processor takes it. */
  public static PagedAttention fastest(PageLayout layout) {
    return RowFunctions.work()
        ? new PagedAttention(layout, new MachineAttention(layout))
        : vectors(layout);
  }

  static void fillWithOnes(NativeBuffer buffer) {
    for (long i = 0; i < buffer.bytes(); i += Float.BYTES) {
      Lanes.putFloat(1, buffer.address() + i);
    }
  }

  /** Makes numbers 0; a loop, since a segment's own method may leave a segment on the heap. */
  static void clear(long at, int count) {
    for (int i = 0; i < count; i++) {
      Lanes.putFloat(0, at + 4L * i);
    }
  }

  /**
   * Lets rows attend, each to the first so many positions.
   *
   * @param pages of the sequence
   * @param first address of page 0
   * @param pageBytes from a page to the next
   * @param queries scaled, [rows, width]
   * @param limits how many positions each row sees, ascending
   * @param out [rows, width]
   */
  public void attend(
      int[] pages,
      long first,
      long pageBytes,
      float[] queries,
      int rows,
      int[] limits,
      float[] out) {
    int width = layout.width();
    for (int from = 0; from < rows; from += kernel.rows()) {
      int count = Math.min(kernel.rows(), rows - from);
      kernel.begin(queries, from * width, count);
      Arrays.fill(largest, Float.NEGATIVE_INFINITY);
      int end = limits[from + count - 1];
      for (int position = 0; position < end; position += GROUP) {
        score(pages, first, pageBytes, position, end, count);
        int vectors = Math.ceilDiv(Math.min(GROUP, end - position), Lanes.WIDTH);
        if (layout.hasScales()) {
          readScales(pages, first, pageBytes, position, end);
        }
        for (int row = 0; row < count; row++) {
          largest[row] = kernel.weigh(row, vectors, limits[from + row] - position, largest[row]);
        }
        mix(pages, first, pageBytes, position, end, count);
      }
      for (int row = 0; row < count; row++) {
        kernel.divide(row, out, (from + row) * width);
      }
      for (int row = from; row < from + count && replaced == NONE; row++) {
        if (!isFinite(out, row)) {
          float[] query = Arrays.copyOfRange(queries, row * width, (row + 1) * width);
          float[] alone = attendAlone(pages, first, pageBytes, query, limits[row]);
          System.arraycopy(alone, 0, out, row * width, width);
        }
      }
    }
  }

  private boolean isFinite(float[] out, int row) {
    int width = layout.width();
    int overflow = 0; // of the exponent: no branches, so that it takes no time
    for (int i = row * width; i < (row + 1) * width; i++) {
      overflow |= (Float.floatToRawIntBits(out[i]) & 0x7F800000) + 0x00800000;
    }
    return overflow >= 0;
  }

  /**
   * What a row gives where its own numbers are not finite, or those of later positions: these weigh
   * 0, and 0 times NaN is NaN.
   */
  private float[] attendAlone(int[] pages, long first, long pageBytes, float[] query, int limit) {
    int page = (limit - 1) / PageLayout.POSITIONS;
    layout.copyUntil(
        first + pageBytes * pages[page], limit - page * PageLayout.POSITIONS, lastPage.address());
    float[] out = new float[query.length];
    replaced = page;
    attend(pages, first, pageBytes, query, 1, new int[] {limit}, out);
    replaced = NONE;
    return out;
  }

  /** Queries times the keys of a group of positions. */
  private void score(int[] pages, long first, long pageBytes, int position, int end, int count) {
    int page = position / PageLayout.POSITIONS;
    int last = (end - 1) / PageLayout.POSITIONS;
    for (int i = 0; i < keys.length; i++) {
      keys[i] = first + pageBytes * pages[Math.min(page + i, last)];
    }
    long within = 4L * (position % PageLayout.POSITIONS);
    kernel.score(keys, within, last - page < PAGES / 2, count);
  }

  /** The scales of a group of positions; 0 where there is no position. */
  private void readScales(int[] pages, long first, long pageBytes, int position, int end) {
    int groupEnd = Math.min(end, position + GROUP);
    clear(kernel.keyScales(), GROUP);
    clear(kernel.valueScales(), GROUP);
    for (int from = position; from < groupEnd; ) {
      int offset = from % PageLayout.POSITIONS;
      int count = Math.min(groupEnd - from, PageLayout.POSITIONS - offset);
      long page = first + pageBytes * pages[from / PageLayout.POSITIONS];
      long at = 4L * (from - position);
      layout.readScales(page, offset, count, kernel.keyScales() + at, kernel.valueScales() + at);
      from += count;
    }
  }

  /** Adds the group's values times their weights. */
  private void mix(int[] pages, long first, long pageBytes, int position, int end, int count) {
    int together = layout.format().inputsTogether();
    int groupEnd = Math.min(end, position + GROUP);
    for (int from = position; from < groupEnd; ) {
      int offset = from % PageLayout.POSITIONS;
      int to = Math.min(groupEnd, from - offset + PageLayout.POSITIONS);
      int index = from / PageLayout.POSITIONS;
      long page = index == replaced ? lastPage.address() : first + pageBytes * pages[index];
      long values = page + layout.keyBytes() + offset / together * layout.valueStepBytes();
      int steps = Math.ceilDiv(to - from, together);
      int nextIndex = Math.min(index + PAGES, (end - 1) / PageLayout.POSITIONS);
      long next = first + pageBytes * pages[nextIndex];
      kernel.mix(values, next, steps, from - position, from == 0, count);
      from = to;
    }
  }

  @Override
  public void close() {
    kernel.close();
    lastPage.close();
  }
}
