package org.eellm.kernel;

import java.util.Arrays;
import java.util.Objects;
import org.eellm.kernel.machine.RowFunctions;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.Lanes;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeInts;

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

  private final PageLayout layout;
  private final AttentionKernel kernel;
  private final NativeBuffer lastPage; // of a row on its own, without what comes after the row
  private final NativeInts onlyLimit = new NativeInts(1);
  private boolean alone; // whether a row is on its own

  private PagedAttention(PageLayout layout, AttentionKernel kernel) {
    this.layout = layout;
    this.kernel = kernel;
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

  /**
   * Lets rows attend, each to the first so many positions.
   *
   * @param pages of the sequence
   * @param first address of page 0
   * @param pageBytes from a page to the next
   * @param queries [rows, width]; their products with keys are divided by the root of the width
   * @param limits how many positions each row sees, ascending
   * @param firstLimit the first row's among them
   * @param out [rows, width]
   */
  public void attend(
      NativeInts pages,
      long first,
      long pageBytes,
      FloatArray queries,
      int rows,
      NativeInts limits,
      int firstLimit,
      float[] out) {
    int width = layout.width();
    for (int from = 0; from < rows; from += kernel.rows()) {
      int count = Math.min(kernel.rows(), rows - from);
      Objects.checkIndex(
          limits.get(firstLimit + from + count - 1) - 1, pages.length() * PageLayout.POSITIONS);
      kernel.begin(queries, from * width, count);
      kernel.sum(pages, first, pageBytes, limits, firstLimit + from, count);
      for (int row = 0; row < count; row++) {
        kernel.divide(row, out, (from + row) * width);
      }
      for (int row = from; row < from + count && !alone; row++) {
        if (!isFinite(out, row)) {
          FloatArray query =
              FloatArray.of(Arrays.copyOfRange(queries.values(), row * width, (row + 1) * width));
          float[] found = attendAlone(pages, first, pageBytes, query, limits.get(firstLimit + row));
          System.arraycopy(found, 0, out, row * width, width);
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
  private float[] attendAlone(
      NativeInts pages, long first, long pageBytes, FloatArray query, int limit) {
    int page = (limit - 1) / PageLayout.POSITIONS;
    layout.copyUntil(
        first + pageBytes * pages.get(page),
        limit - page * PageLayout.POSITIONS,
        lastPage.address());
    float[] out = new float[query.length()];
    alone = true;
    onlyLimit.copy(new int[] {limit}, 1);
    kernel.replace(page, lastPage.address());
    attend(pages, first, pageBytes, query, 1, onlyLimit, 0, out);
    kernel.replace(AttentionKernel.NONE, 0);
    alone = false;
    return out;
  }

  /** What queries are multiplied with. */
  static float scale(PageLayout layout) {
    return (float) (1 / Math.sqrt(layout.width()));
  }

  @Override
  public void close() {
    kernel.close();
    lastPage.close();
    onlyLimit.close();
  }
}
