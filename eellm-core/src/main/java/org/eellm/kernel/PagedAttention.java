package org.eellm.kernel;

import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.eellm.kernel.product.MatmulKernel;
import org.eellm.kernel.product.TileKernel;
import org.eellm.kernel.product.TileKernels;
import org.eellm.kernel.product.TileKernels.Variant;
import org.eellm.kernel.vector.Lanes;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Attention of some rows of a sequence over its pages of keys and values: a few pages at a time,
 * with a running maximum and sum in place of a matrix of scores. What a row gives depends neither
 * on the rows beside it nor on where pages lie.
 *
 * <p>Belongs to one thread.
 */
public final class PagedAttention implements AutoCloseable {
  private static final int VECTORS = 4; // of scores, and of a value, worked on together
  private static final int GROUP = VECTORS * Lanes.WIDTH; // positions worked on together
  private static final int PAGES = Math.max(1, GROUP / PageLayout.POSITIONS);
  private static final int TILE = MatmulKernel.SUMS / VECTORS; // rows

  private static final float[] INDEX = index(); // of a position in its group

  private static final int NONE = -1;

  private static final float LOWEST = -87.3f;
  private static final float LOG2_E = 1.44269504f;
  private static final float ROUND = 12582912f;
  private static final float LN_2_HIGH = -0.693359375f;
  private static final float LN_2_LOW = 2.12194440e-4f;

  private final PageLayout layout;
  private final int inputs; // of a query, in whole groups
  private final float[] padded; // queries where they are not whole groups
  private final float[] weights = new float[TILE * GROUP];
  private final float[] largest = new float[TILE];
  private final float[] totals = new float[TILE * Lanes.WIDTH];
  private final float[] keyScales = new float[GROUP]; // of a group of positions; 1 without scales
  private final float[] valueScales = new float[GROUP];
  private final NativeBuffer scores = NativeBuffer.allocate(4L * TILE * GROUP);
  private final NativeBuffer sums;
  private final TileKernel[] products = new TileKernel[TILE + 1]; // by rows
  private final TileKernel[] halfProducts = new TileKernel[TILE + 1]; // of half the pages
  private final TileKernel[] firstMixtures = new TileKernel[TILE + 1]; // which begin the sums
  private final TileKernel[] mixtures = new TileKernel[TILE + 1];
  private final int valueVectors;
  private final NativeBuffer lastPage; // of a row on its own, without what comes after the row
  private int replaced = NONE; // the page that this stands for

  /** Attention over pages of this layout. */
  public PagedAttention(PageLayout layout) {
    this.layout = layout;
    inputs = layout.keySteps() * layout.format().inputsTogether();
    padded = new float[inputs == layout.width() ? 0 : TILE * inputs];
    Arrays.fill(keyScales, 1);
    Arrays.fill(valueScales, 1);
    sums = NativeBuffer.allocate(4L * TILE * layout.valueWidth());
    lastPage = NativeBuffer.allocate(layout.bytes());
    int vectors = layout.valueWidth() / Lanes.WIDTH;
    valueVectors = vectors % VECTORS == 0 ? VECTORS : 1;
    WeightFormat format = layout.format();
    for (int rows = 1; rows <= TILE; rows++) {
      products[rows] = TileKernels.of(new Variant(format, rows, PAGES, VECTORS / PAGES, false));
      halfProducts[rows] =
          rows > 1 && PAGES > 1
              ? TileKernels.of(new Variant(format, rows, PAGES / 2, VECTORS / PAGES, false))
              : products[rows]; // few sums wait for themselves: half would take as long
      firstMixtures[rows] = TileKernels.of(new Variant(format, rows, 1, valueVectors, false));
      mixtures[rows] = TileKernels.of(new Variant(format, rows, 1, valueVectors, true));
    }
  }

  private static float[] index() {
    float[] index = new float[GROUP];
    for (int i = 0; i < GROUP; i++) {
      index[i] = i;
    }
    return index;
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
    for (int from = 0; from < rows; from += TILE) {
      int count = Math.min(TILE, rows - from);
      boolean whole = padded.length == 0;
      float[] x = whole ? queries : padded;
      int at = whole ? from * inputs : 0;
      if (!whole) {
        pad(queries, from, count);
      }
      Arrays.fill(largest, Float.NEGATIVE_INFINITY);
      Arrays.fill(totals, 0);
      int end = limits[from + count - 1];
      for (int position = 0; position < end; position += GROUP) {
        score(pages, first, pageBytes, position, end, count, x, at);
        int vectors = Math.ceilDiv(Math.min(GROUP, end - position), Lanes.WIDTH);
        if (layout.hasScales()) {
          readScales(pages, first, pageBytes, position, end);
        }
        for (int row = 0; row < count; row++) {
          weigh(row, limits[from + row] - position, vectors);
        }
        mix(pages, first, pageBytes, position, end, count);
      }
      store(out, from, count);
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

  private void pad(float[] queries, int from, int count) {
    int width = layout.width();
    for (int row = 0; row < count; row++) {
      System.arraycopy(queries, (from + row) * width, padded, row * inputs, width);
    }
  }

  /** Queries times the keys of a group of positions, [count, GROUP]. */
  private void score(
      int[] pages,
      long first,
      long pageBytes,
      int position,
      int end,
      int count,
      float[] x,
      int at) {
    int page = position / PageLayout.POSITIONS;
    int last = (end - 1) / PageLayout.POSITIONS;
    long within = 4L * (position % PageLayout.POSITIONS);
    TileKernel kernel = last - page < PAGES / 2 ? halfProducts[count] : products[count];
    kernel.run(
        first + pageBytes * pages[page] + within,
        first + pageBytes * pages[Math.min(page + 1, last)],
        first + pageBytes * pages[Math.min(page + 2, last)],
        first + pageBytes * pages[Math.min(page + 3, last)],
        4L * PageLayout.POSITIONS,
        layout.keySteps(),
        x,
        at,
        inputs,
        scores.address(),
        4L * GROUP);
  }

  /** The scales of a group of positions; 0 where there is no position. */
  private void readScales(int[] pages, long first, long pageBytes, int position, int end) {
    int groupEnd = Math.min(end, position + GROUP);
    Arrays.fill(keyScales, 0);
    Arrays.fill(valueScales, 0);
    for (int from = position; from < groupEnd; ) {
      int offset = from % PageLayout.POSITIONS;
      int count = Math.min(groupEnd - from, PageLayout.POSITIONS - offset);
      long page = first + pageBytes * pages[from / PageLayout.POSITIONS];
      layout.readScales(page, offset, count, keyScales, valueScales, from - position);
      from += count;
    }
  }

  /**
   * Makes a row's scores exponentials of what they are below its largest so far.
   *
   * @param visible how many positions of the group the row sees; may be none, or more than all
   * @param vectors of scores that there are
   */
  private void weigh(int row, int visible, int vectors) {
    largest[row] =
        exponentials(
            scores.address() + 4L * GROUP * row,
            vectors,
            visible,
            largest[row],
            keyScales,
            valueScales,
            weights,
            row * GROUP,
            totals,
            row * Lanes.WIDTH,
            sums.address() + 4L * layout.valueWidth() * row,
            layout.valueWidth());
  }

  /** What sums so far are multiplied with where a larger score has come. */
  private static float factor(float before, float max) {
    return (float) Math.exp(before - max);
  }

  /**
   * Writes {@code exp(score - max)} of a group, where max is the largest score so far, and adds
   * them to a vector of totals. Where max has grown, totals and sums so far are made smaller.
   * Scores are first multiplied with the scales of their keys, and what is written with those of
   * the values.
   *
   * <p>Written out (see {@link Lanes}).
   *
   * @param visible of the positions; the others weigh 0
   * @param before the largest score before this group
   * @param sums address
   * @return max, or {@code before} where all is NaN
   */
  private static float exponentials(
      long at,
      int vectors,
      int visible,
      float before,
      float[] keyScales,
      float[] valueScales,
      float[] to,
      int toAt,
      float[] totals,
      int row,
      long sums,
      int width) {
    VectorSpecies<Float> floats = Lanes.FLOATS;
    FloatVector largest = FloatVector.broadcast(floats, before);
    for (int i = 0; i < vectors; i++) {
      FloatVector index = FloatVector.fromArray(floats, INDEX, i * Lanes.WIDTH);
      largest =
          largest.max(
              FloatVector.fromMemorySegment(
                      floats, Lanes.MEMORY, at + (long) i * Lanes.BYTES, Lanes.ORDER)
                  .mul(FloatVector.fromArray(floats, keyScales, i * Lanes.WIDTH))
                  .blend(Float.NEGATIVE_INFINITY, index.compare(VectorOperators.GE, visible)));
    }
    float max = largest.reduceLanes(VectorOperators.MAX);
    FloatVector total = FloatVector.fromArray(floats, totals, row);
    if (max > before && before > Float.NEGATIVE_INFINITY) {
      float factor = factor(before, max);
      total = total.mul(factor);
      for (int i = 0; i < width; i += Lanes.WIDTH) {
        FloatVector.fromMemorySegment(floats, Lanes.MEMORY, sums + 4L * i, Lanes.ORDER)
            .mul(factor)
            .intoMemorySegment(Lanes.MEMORY, sums + 4L * i, Lanes.ORDER);
      }
    }
    for (int i = 0; i < vectors; i++) {
      FloatVector index = FloatVector.fromArray(floats, INDEX, i * Lanes.WIDTH);
      FloatVector score =
          FloatVector.fromMemorySegment(
                  floats, Lanes.MEMORY, at + (long) i * Lanes.BYTES, Lanes.ORDER)
              .mul(FloatVector.fromArray(floats, keyScales, i * Lanes.WIDTH))
              .blend(Float.NEGATIVE_INFINITY, index.compare(VectorOperators.GE, visible));
      FloatVector x = score.sub(max);
      x = x.blend(LOWEST, x.compare(VectorOperators.LT, LOWEST));
      // x = n ln 2 + r; adding 1.5 * 2^23 leaves n in the low bits (as in Lanes.exp).
      FloatVector shifted =
          x.fma(FloatVector.broadcast(floats, LOG2_E), FloatVector.broadcast(floats, ROUND));
      FloatVector n = shifted.sub(ROUND);
      FloatVector r =
          n.fma(
              FloatVector.broadcast(floats, LN_2_LOW),
              n.fma(FloatVector.broadcast(floats, LN_2_HIGH), x));
      FloatVector p = FloatVector.broadcast(floats, 1.9875691500e-4f);
      p = p.fma(r, FloatVector.broadcast(floats, 1.3981999507e-3f));
      p = p.fma(r, FloatVector.broadcast(floats, 8.3334519073e-3f));
      p = p.fma(r, FloatVector.broadcast(floats, 4.1665795894e-2f));
      p = p.fma(r, FloatVector.broadcast(floats, 1.6666665459e-1f));
      p = p.fma(r, FloatVector.broadcast(floats, 5.0000001201e-1f));
      FloatVector power =
          shifted
              .reinterpretAsInts()
              .add(127 - 0x4B400000)
              .lanewise(VectorOperators.LSHL, 23)
              .reinterpretAsFloats();
      FloatVector weight = p.fma(r.mul(r), r).add(1).mul(power);
      VectorMask<Float> hidden = score.compare(VectorOperators.EQ, Float.NEGATIVE_INFINITY);
      weight = weight.blend(0, hidden);
      weight
          .mul(FloatVector.fromArray(floats, valueScales, i * Lanes.WIDTH))
          .blend(0, hidden) // whose scale may be NaN
          .intoArray(to, toAt + i * Lanes.WIDTH);
      total = total.add(weight);
    }
    total.intoArray(totals, row);
    return max > before ? max : before;
  }

  /** Adds the group's values times their weights. */
  private void mix(int[] pages, long first, long pageBytes, int position, int end, int count) {
    int together = layout.format().inputsTogether();
    int groupEnd = Math.min(end, position + GROUP);
    int width = layout.valueWidth();
    for (int from = position; from < groupEnd; ) {
      int offset = from % PageLayout.POSITIONS;
      int to = Math.min(groupEnd, from - offset + PageLayout.POSITIONS);
      int index = from / PageLayout.POSITIONS;
      long page = index == replaced ? lastPage.address() : first + pageBytes * pages[index];
      long values = page + layout.keyBytes() + offset / together * layout.valueStepBytes();
      TileKernel kernel = from == 0 ? firstMixtures[count] : mixtures[count];
      for (int v = 0; v < width / Lanes.WIDTH; v += valueVectors) {
        kernel.run(
            values + (long) v * Lanes.BYTES,
            0,
            0,
            0,
            layout.valueStepBytes(),
            Math.ceilDiv(to - from, together),
            weights,
            from - position,
            GROUP,
            sums.address() + (long) v * Lanes.BYTES,
            4L * width);
      }
      from = to;
    }
  }

  private void store(float[] out, int from, int count) {
    int width = layout.width();
    for (int row = 0; row < count; row++) {
      long rowSums = sums.address() + 4L * layout.valueWidth() * row;
      divide(rowSums, totals, row * Lanes.WIDTH, out, (from + row) * width, width);
    }
  }

  /** Writes sums over their total, which is a vector's. Written out (see {@link Lanes}). */
  private static void divide(long sums, float[] totals, int row, float[] out, int to, int width) {
    VectorSpecies<Float> floats = Lanes.FLOATS;
    FloatVector total = FloatVector.fromArray(floats, totals, row);
    total = total.add(total.rearrange(Lanes.TURN_1));
    total = total.add(total.rearrange(Lanes.TURN_2));
    if (Lanes.WIDTH > 4) {
      total = total.add(total.rearrange(Lanes.TURN_4));
    }
    if (Lanes.WIDTH > 8) {
      total = total.add(total.rearrange(Lanes.TURN_8));
    }
    float sum = total.lane(0);
    int whole = width - width % Lanes.WIDTH;
    int fours = width - width % (4 * Lanes.WIDTH);
    for (int i = 0; i < fours; i += 4 * Lanes.WIDTH) {
      long at = sums + 4L * i;
      FloatVector.fromMemorySegment(floats, Lanes.MEMORY, at, Lanes.ORDER)
          .div(sum)
          .intoArray(out, to + i);
      FloatVector.fromMemorySegment(floats, Lanes.MEMORY, at + Lanes.BYTES, Lanes.ORDER)
          .div(sum)
          .intoArray(out, to + i + Lanes.WIDTH);
      FloatVector.fromMemorySegment(floats, Lanes.MEMORY, at + 2L * Lanes.BYTES, Lanes.ORDER)
          .div(sum)
          .intoArray(out, to + i + 2 * Lanes.WIDTH);
      FloatVector.fromMemorySegment(floats, Lanes.MEMORY, at + 3L * Lanes.BYTES, Lanes.ORDER)
          .div(sum)
          .intoArray(out, to + i + 3 * Lanes.WIDTH);
    }
    for (int i = fours; i < whole; i += Lanes.WIDTH) {
      FloatVector.fromMemorySegment(floats, Lanes.MEMORY, sums + 4L * i, Lanes.ORDER)
          .div(sum)
          .intoArray(out, to + i);
    }
    for (int i = whole; i < width; i++) {
      out[to + i] = Lanes.getFloat(sums + 4L * i) / sum;
    }
  }

  @Override
  public void close() {
    scores.close();
    sums.close();
    lastPage.close();
  }
}
