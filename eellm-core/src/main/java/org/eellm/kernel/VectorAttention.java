package org.eellm.kernel;

import static org.eellm.kernel.vector.NativeNumbers.MEMORY;
import static org.eellm.kernel.vector.NativeNumbers.ORDER;

import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.matmul.MatmulKernel;
import org.eellm.kernel.matmul.TileKernel;
import org.eellm.kernel.matmul.TileKernels;
import org.eellm.kernel.matmul.TileKernels.Variant;
import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.Lanes;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeInts;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.WeightFormat;

/** The arithmetic of attention by the Vector API, on any processor. */
final class VectorAttention implements AttentionKernel {
  private static final int VECTORS = PagedAttention.VECTORS;
  private static final int GROUP = PagedAttention.GROUP;
  private static final int PAGES = PagedAttention.PAGES;
  private static final int TILE = MatmulKernel.SUMS / VECTORS; // rows

  private static final float[] INDEX = index(); // of a position in its group

  private static final float LOWEST = -87.3f;
  private static final float LOG2_E = 1.44269504f;
  private static final float ROUND = 12582912f;
  private static final float LN_2_HIGH = -0.693359375f;
  private static final float LN_2_LOW = 2.12194440e-4f;

  private final PageLayout layout;
  private final ScoreFunction function;
  private final RowKernel rowKernel = RowKernel.vectors();
  private final int inputs; // of a query, in whole groups
  private final float[] largest = new float[TILE]; // score of a row so far
  private final long[] keys = new long[4]; // addresses of a group's pages
  private int window = Integer.MAX_VALUE;
  private int begin; // position of the first page that a row of the tile sees
  private int replaced = NONE;
  private long replacement;
  private final float[] key; // that is written
  private final float[] queries;
  private final float[] weights = new float[TILE * GROUP];
  private final float[] totals = new float[TILE * NativeNumbers.WIDTH];
  private final NativeBuffer scores = NativeBuffer.allocate(4L * TILE * GROUP);
  private final NativeBuffer scales = NativeBuffer.allocate(3 * 4L * GROUP);
  private final NativeBuffer sums;
  private final int valueVectors;
  private final TileKernel[] products = new TileKernel[TILE + 1]; // by rows
  private final TileKernel[] halfProducts = new TileKernel[TILE + 1]; // of half the pages
  private final TileKernel[] firstMixtures = new TileKernel[TILE + 1]; // which begin the sums
  private final TileKernel[] mixtures = new TileKernel[TILE + 1];

  VectorAttention(PageLayout layout, ScoreFunction function) {
    this.layout = layout;
    this.function = function;
    inputs = layout.keySteps() * layout.format().inputsTogether();
    key = new float[layout.width()];
    queries = new float[TILE * inputs];
    fillWithOnes(scales);
    sums = NativeBuffer.allocate(4L * TILE * layout.valueWidth());
    int vectors = layout.valueWidth() / NativeNumbers.WIDTH;
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

  private static void fillWithOnes(NativeBuffer buffer) {
    for (long i = 0; i < buffer.bytes(); i += Float.BYTES) {
      NativeNumbers.putFloat(1, buffer.address() + i);
    }
  }

  private static float[] index() {
    float[] index = new float[GROUP];
    for (int i = 0; i < GROUP; i++) {
      index[i] = i;
    }
    return index;
  }

  @Override
  public int rows() {
    return TILE;
  }

  @Override
  public void rotate(long head, long cosines, long sines, int pairs) {
    VectorPages.rotate(head, head + 2L * layout.width(), cosines, sines, pairs);
  }

  @Override
  public void write(long page, int offset, long key, long value) {
    FloatArithmetic.read(key, this.key, 0, layout.width());
    VectorPages.write(layout, page, offset, this.key, value, key);
  }

  @Override
  public void window(int positions) {
    window = positions;
  }

  @Override
  public void take(int row, long queries, int count) {
    int width = layout.width();
    float scale = function.scale();
    for (int r = 0; r < count; r++) {
      for (int i = 0; i < width; i++) {
        this.queries[(row + r) * inputs + i] =
            NativeNumbers.getFloat(queries + 4L * (r * width + i)) * scale;
      }
    }
  }

  @Override
  public void replace(int page, long address) {
    replaced = page;
    replacement = address;
  }

  @Override
  public void sum(
      NativeInts pages, long first, long pageBytes, NativeInts limits, int from, int count) {
    Arrays.fill(largest, Float.NEGATIVE_INFINITY);
    Arrays.fill(totals, 0);
    begin = begin(limits.get(from)) / PageLayout.POSITIONS * PageLayout.POSITIONS;
    int end = limits.get(from + count - 1);
    for (int position = begin / GROUP * GROUP; position < end; position += GROUP) {
      score(pages, first, pageBytes, position, end, count);
      int vectors = Math.ceilDiv(Math.min(GROUP, end - position), NativeNumbers.WIDTH);
      if (layout.hasScales()) {
        readScales(pages, first, pageBytes, position, end);
      }
      for (int row = 0; row < count; row++) {
        int limit = limits.get(from + row);
        long keyScales = finishScores(row, vectors, begin(limit) - position);
        largest[row] = weigh(row, vectors, limit - position, largest[row], keyScales);
      }
      mix(pages, first, pageBytes, position, end, count);
    }
  }

  /** The first position that a row sees. */
  private int begin(int limit) {
    return Math.max(0, limit - window);
  }

  /**
   * Caps a row's scores, and hides the first positions, where there is anything to do.
   *
   * @return address of the scales of keys that scores are yet to be multiplied with
   */
  private long finishScores(int row, int vectors, int hidden) {
    if (hidden <= 0 && function.softcap() == 0) {
      return keyScales();
    }
    long at = scores.address() + 4L * GROUP * row;
    int count = vectors * NativeNumbers.WIDTH;
    for (int i = 0; i < count && layout.hasScales(); i++) {
      NativeNumbers.putFloat(
          NativeNumbers.getFloat(at + 4L * i) * NativeNumbers.getFloat(keyScales() + 4L * i),
          at + 4L * i);
    }
    if (function.softcap() != 0) {
      rowKernel.softcap(at, count, function.softcap());
    }
    for (int i = 0; i < Math.min(hidden, count); i++) {
      NativeNumbers.putFloat(Float.NEGATIVE_INFINITY, at + 4L * i);
    }
    return ones();
  }

  /** Queries times the keys of a group of positions. */
  private void score(
      NativeInts pages, long first, long pageBytes, int position, int end, int count) {
    int page = position / PageLayout.POSITIONS;
    int last = (end - 1) / PageLayout.POSITIONS;
    for (int i = 0; i < keys.length; i++) {
      int seen = Math.clamp(page + i, begin / PageLayout.POSITIONS, last);
      keys[i] = first + pageBytes * pages.get(seen);
    }
    TileKernel kernel = last - page < PAGES / 2 ? halfProducts[count] : products[count];
    kernel.run(
        keys[0] + 4L * (position % PageLayout.POSITIONS),
        keys[1],
        keys[2],
        keys[3],
        4L * PageLayout.POSITIONS,
        layout.keySteps(),
        queries,
        0,
        inputs,
        scores.address(),
        4L * GROUP);
  }

  /** The scales of a group of positions; 0 where there is no position. */
  private void readScales(NativeInts pages, long first, long pageBytes, int position, int end) {
    int groupEnd = Math.min(end, position + GROUP);
    clear(keyScales(), GROUP);
    clear(valueScales(), GROUP);
    for (int from = Math.max(position, begin); from < groupEnd; ) {
      int offset = from % PageLayout.POSITIONS;
      int count = Math.min(groupEnd - from, PageLayout.POSITIONS - offset);
      long page = first + pageBytes * pages.get(from / PageLayout.POSITIONS);
      long at = 4L * (from - position);
      layout.readScales(page, offset, count, keyScales() + at, valueScales() + at);
      from += count;
    }
  }

  private float weigh(int row, int vectors, int visible, float before, long keyScales) {
    return exponentials(
        scores.address() + 4L * GROUP * row,
        vectors,
        visible,
        before,
        keyScales,
        valueScales(),
        weights,
        row * GROUP,
        totals,
        row * NativeNumbers.WIDTH,
        sums.address() + 4L * layout.valueWidth() * row,
        layout.valueWidth());
  }

  /** Makes numbers 0; a loop, since a segment's own method may leave a segment on the heap. */
  private static void clear(long at, int count) {
    for (int i = 0; i < count; i++) {
      NativeNumbers.putFloat(0, at + 4L * i);
    }
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
      long keyScales,
      long valueScales,
      float[] to,
      int toAt,
      float[] totals,
      int row,
      long sums,
      int width) {
    VectorSpecies<Float> floats = Lanes.FLOATS;
    FloatVector largest = FloatVector.broadcast(floats, before);
    for (int i = 0; i < vectors; i++) {
      FloatVector index = FloatVector.fromArray(floats, INDEX, i * NativeNumbers.WIDTH);
      largest =
          largest.max(
              FloatVector.fromMemorySegment(
                      floats, MEMORY, at + (long) i * NativeNumbers.BYTES, ORDER)
                  .mul(
                      FloatVector.fromMemorySegment(
                          floats, MEMORY, keyScales + (long) i * NativeNumbers.BYTES, ORDER))
                  .blend(Float.NEGATIVE_INFINITY, index.compare(VectorOperators.GE, visible)));
    }
    float max = largest.reduceLanes(VectorOperators.MAX);
    FloatVector total = FloatVector.fromArray(floats, totals, row);
    if (max > before && before > Float.NEGATIVE_INFINITY) {
      float factor = factor(before, max);
      total = total.mul(factor);
      for (int i = 0; i < width; i += NativeNumbers.WIDTH) {
        FloatVector.fromMemorySegment(floats, MEMORY, sums + 4L * i, ORDER)
            .mul(factor)
            .intoMemorySegment(MEMORY, sums + 4L * i, ORDER);
      }
    }
    for (int i = 0; i < vectors; i++) {
      FloatVector index = FloatVector.fromArray(floats, INDEX, i * NativeNumbers.WIDTH);
      FloatVector score =
          FloatVector.fromMemorySegment(floats, MEMORY, at + (long) i * NativeNumbers.BYTES, ORDER)
              .mul(
                  FloatVector.fromMemorySegment(
                      floats, MEMORY, keyScales + (long) i * NativeNumbers.BYTES, ORDER))
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
          .mul(
              FloatVector.fromMemorySegment(
                  floats, MEMORY, valueScales + (long) i * NativeNumbers.BYTES, ORDER))
          .blend(0, hidden) // whose scale may be NaN
          .intoArray(to, toAt + i * NativeNumbers.WIDTH);
      total = total.add(weight);
    }
    total.intoArray(totals, row);
    return max > before ? max : before;
  }

  /**
   * By what earlier sums are multiplied where a larger score has come: the exponential of {@link
   * #exponentials} for one number.
   */
  private static float factor(float before, float max) {
    float x = Math.max(before - max, LOWEST);
    float shifted = Math.fma(x, LOG2_E, ROUND);
    float n = shifted - ROUND;
    float r = Math.fma(n, LN_2_LOW, Math.fma(n, LN_2_HIGH, x));
    float p = 1.9875691500e-4f;
    p = Math.fma(p, r, 1.3981999507e-3f);
    p = Math.fma(p, r, 8.3334519073e-3f);
    p = Math.fma(p, r, 4.1665795894e-2f);
    p = Math.fma(p, r, 1.6666665459e-1f);
    p = Math.fma(p, r, 5.0000001201e-1f);
    int power = Float.floatToRawIntBits(shifted) + 127 - 0x4B400000 << 23;
    return (Math.fma(p, r * r, r) + 1) * Float.intBitsToFloat(power);
  }

  /** Adds the group's values times their weights. */
  private void mix(NativeInts pages, long first, long pageBytes, int position, int end, int count) {
    int together = layout.format().inputsTogether();
    int width = layout.valueWidth();
    int groupEnd = Math.min(end, position + GROUP);
    TileKernel[] kernels = position <= begin ? firstMixtures : mixtures;
    for (int from = Math.max(position, begin); from < groupEnd; ) {
      int offset = from % PageLayout.POSITIONS;
      int to = Math.min(groupEnd, from - offset + PageLayout.POSITIONS);
      int index = from / PageLayout.POSITIONS;
      long page = index == replaced ? replacement : first + pageBytes * pages.get(index);
      long values = page + layout.keyBytes() + offset / together * layout.valueStepBytes();
      int steps = Math.ceilDiv(to - from, together);
      for (int v = 0; v < width / NativeNumbers.WIDTH; v += valueVectors) {
        kernels[count].run(
            values + (long) v * NativeNumbers.BYTES,
            0,
            0,
            0,
            layout.valueStepBytes(),
            steps,
            weights,
            from - position,
            GROUP,
            sums.address() + (long) v * NativeNumbers.BYTES,
            4L * width);
      }
      kernels = mixtures;
      from = to;
    }
  }

  @Override
  public boolean divide(int count, long out) {
    int width = layout.valueWidth();
    boolean finite = true;
    for (int row = 0; row < count; row++) {
      long offset = 4L * width * row;
      finite &=
          divide(sums.address() + offset, totals, row * NativeNumbers.WIDTH, out + offset, width);
    }
    return finite;
  }

  /**
   * Writes sums over their total, which is a vector's, and says whether all are finite. Written out
   * (see {@link Lanes}).
   */
  private static boolean divide(long sums, float[] totals, int row, long out, int width) {
    VectorSpecies<Float> floats = Lanes.FLOATS;
    FloatVector total = FloatVector.fromArray(floats, totals, row);
    total = total.add(total.rearrange(Lanes.ROTATE_1));
    total = total.add(total.rearrange(Lanes.ROTATE_2));
    if (NativeNumbers.WIDTH > 4) {
      total = total.add(total.rearrange(Lanes.ROTATE_4));
    }
    if (NativeNumbers.WIDTH > 8) {
      total = total.add(total.rearrange(Lanes.ROTATE_8));
    }
    float sum = total.lane(0);
    FloatVector zero = FloatVector.zero(floats);
    FloatVector check = zero; // 0 times what is not finite is NaN
    int fours = width - width % (4 * NativeNumbers.WIDTH);
    for (int i = 0; i < fours; i += 4 * NativeNumbers.WIDTH) {
      long at = 4L * i;
      FloatVector a = FloatVector.fromMemorySegment(floats, MEMORY, sums + at, ORDER).div(sum);
      a.intoMemorySegment(MEMORY, out + at, ORDER);
      check = a.fma(zero, check);
      at += NativeNumbers.BYTES;
      a = FloatVector.fromMemorySegment(floats, MEMORY, sums + at, ORDER).div(sum);
      a.intoMemorySegment(MEMORY, out + at, ORDER);
      check = a.fma(zero, check);
      at += NativeNumbers.BYTES;
      a = FloatVector.fromMemorySegment(floats, MEMORY, sums + at, ORDER).div(sum);
      a.intoMemorySegment(MEMORY, out + at, ORDER);
      check = a.fma(zero, check);
      at += NativeNumbers.BYTES;
      a = FloatVector.fromMemorySegment(floats, MEMORY, sums + at, ORDER).div(sum);
      a.intoMemorySegment(MEMORY, out + at, ORDER);
      check = a.fma(zero, check);
    }
    for (int i = fours; i < width; i += NativeNumbers.WIDTH) {
      long at = 4L * i;
      FloatVector a = FloatVector.fromMemorySegment(floats, MEMORY, sums + at, ORDER).div(sum);
      a.intoMemorySegment(MEMORY, out + at, ORDER);
      check = a.fma(zero, check);
    }
    return check.compare(VectorOperators.EQ, 0).allTrue();
  }

  @Override
  public void finish() {
    // All has been done at once.
  }

  @Override
  public void forget() {
    // Nothing is pending.
  }

  /** Address of the scales of a group's keys; 1 unless they are written. */
  private long keyScales() {
    return scales.address();
  }

  /** Address of the scales of a group's values; 1 unless they are written. */
  private long valueScales() {
    return scales.address() + 4L * GROUP;
  }

  /** Address of as many ones as a group has positions. */
  private long ones() {
    return scales.address() + 2 * 4L * GROUP;
  }

  @Override
  public void close() {
    scores.close();
    scales.close();
    sums.close();
  }
}
