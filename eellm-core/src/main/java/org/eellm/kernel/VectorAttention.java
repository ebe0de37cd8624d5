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
  private final int inputs; // of a query, in whole groups
  private final float[] queries;
  private final float[] weights = new float[TILE * GROUP];
  private final float[] totals = new float[TILE * Lanes.WIDTH];
  private final NativeBuffer scores = NativeBuffer.allocate(4L * TILE * GROUP);
  private final NativeBuffer scales = NativeBuffer.allocate(2 * 4L * GROUP);
  private final NativeBuffer sums;
  private final int valueVectors;
  private final TileKernel[] products = new TileKernel[TILE + 1]; // by rows
  private final TileKernel[] halfProducts = new TileKernel[TILE + 1]; // of half the pages
  private final TileKernel[] firstMixtures = new TileKernel[TILE + 1]; // which begin the sums
  private final TileKernel[] mixtures = new TileKernel[TILE + 1];

  VectorAttention(PageLayout layout) {
    this.layout = layout;
    inputs = layout.keySteps() * layout.format().inputsTogether();
    queries = new float[TILE * inputs];
    PagedAttention.fillWithOnes(scales);
    sums = NativeBuffer.allocate(4L * TILE * layout.valueWidth());
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

  @Override
  public int rows() {
    return TILE;
  }

  @Override
  public void begin(float[] queries, int at, int count) {
    int width = layout.width();
    for (int row = 0; row < count; row++) {
      System.arraycopy(queries, at + row * width, this.queries, row * inputs, width);
    }
    Arrays.fill(totals, 0);
  }

  @Override
  public void score(long[] keys, long within, boolean half, int count) {
    TileKernel kernel = half ? halfProducts[count] : products[count];
    kernel.run(
        keys[0] + within,
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

  @Override
  public float weigh(int row, int vectors, int visible, float before) {
    return exponentials(
        scores.address() + 4L * GROUP * row,
        vectors,
        visible,
        before,
        keyScales(),
        valueScales(),
        weights,
        row * GROUP,
        totals,
        row * Lanes.WIDTH,
        sums.address() + 4L * layout.valueWidth() * row,
        layout.valueWidth());
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
      FloatVector index = FloatVector.fromArray(floats, INDEX, i * Lanes.WIDTH);
      largest =
          largest.max(
              FloatVector.fromMemorySegment(
                      floats, Lanes.MEMORY, at + (long) i * Lanes.BYTES, Lanes.ORDER)
                  .mul(
                      FloatVector.fromMemorySegment(
                          floats, Lanes.MEMORY, keyScales + (long) i * Lanes.BYTES, Lanes.ORDER))
                  .blend(Float.NEGATIVE_INFINITY, index.compare(VectorOperators.GE, visible)));
    }
    float max = largest.reduceLanes(VectorOperators.MAX);
    FloatVector total = FloatVector.fromArray(floats, totals, row);
    if (max > before && before > Float.NEGATIVE_INFINITY) {
      float factor = AttentionKernel.factor(before, max);
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
              .mul(
                  FloatVector.fromMemorySegment(
                      floats, Lanes.MEMORY, keyScales + (long) i * Lanes.BYTES, Lanes.ORDER))
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
                  floats, Lanes.MEMORY, valueScales + (long) i * Lanes.BYTES, Lanes.ORDER))
          .blend(0, hidden) // whose scale may be NaN
          .intoArray(to, toAt + i * Lanes.WIDTH);
      total = total.add(weight);
    }
    total.intoArray(totals, row);
    return max > before ? max : before;
  }

  @Override
  public void mix(long values, long next, int steps, int position, boolean first, int count) {
    int width = layout.valueWidth();
    TileKernel kernel = first ? firstMixtures[count] : mixtures[count];
    for (int v = 0; v < width / Lanes.WIDTH; v += valueVectors) {
      kernel.run(
          values + (long) v * Lanes.BYTES,
          0,
          0,
          0,
          layout.valueStepBytes(),
          steps,
          weights,
          position,
          GROUP,
          sums.address() + (long) v * Lanes.BYTES,
          4L * width);
    }
  }

  @Override
  public void divide(int row, float[] out, int to) {
    long rowSums = sums.address() + 4L * layout.valueWidth() * row;
    divide(rowSums, totals, row * Lanes.WIDTH, out, to, layout.width());
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
  public long keyScales() {
    return scales.address();
  }

  @Override
  public long valueScales() {
    return scales.address() + 4L * GROUP;
  }

  @Override
  public void close() {
    scores.close();
    scales.close();
    sums.close();
  }
}
