package org.eellm.kernel;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static org.eellm.kernel.vector.NativeNumbers.MEMORY;

import java.util.Arrays;
import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.matmul.Tile;
import org.eellm.kernel.vector.Exponential;
import org.eellm.kernel.vector.LaneSum;
import org.eellm.kernel.vector.NativeInts;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.WeightFormat;

/**
 * The arithmetic of attention in Java, row by row, on any processor: of products by {@link Tile}s,
 * of the rest number by number.
 */
final class JavaAttention implements AttentionKernel {
  private static final int GROUP = PagedAttention.GROUP;
  private static final int POSITIONS = PageLayout.POSITIONS;
  private static final int WIDTH = NativeNumbers.WIDTH;

  private final PageLayout layout;
  private final ScoreFunction function;
  private final Tile tile;
  private final float[] key; // that is written
  private final float[] query; // in whole groups
  private final float[] scores = new float[GROUP];
  private final float[] weights = new float[GROUP];
  private final float[] keyScales = new float[GROUP];
  private final float[] valueScales = new float[GROUP];
  private final float[] totals = new float[WIDTH];
  private final float[] sums;
  private float largest; // score so far
  private int window = Integer.MAX_VALUE;
  private int replaced = NONE;
  private long replacement;

  /**
   * For pages of a layout.
   *
   * @param vectors whether products are by the Vector API
   */
  JavaAttention(PageLayout layout, ScoreFunction function, boolean vectors) {
    this.layout = layout;
    this.function = function;
    WeightFormat format = layout.format();
    tile = layout.hasScales() ? Tile.ofSignedBytes(vectors) : Tile.of(format, vectors);
    key = new float[layout.width()];
    query = new float[layout.keySteps() * format.inputsTogether()];
    sums = new float[layout.valueWidth()];
    Arrays.fill(keyScales, 1);
    Arrays.fill(valueScales, 1);
  }

  @Override
  public int rows() {
    return 1;
  }

  @Override
  public void rotate(long head, long cosines, long sines, int pairs) {
    long second = head + 2L * layout.width();
    for (long at = 0; at < 4L * pairs; at += Float.BYTES) {
      float cos = NativeNumbers.getFloat(cosines + at);
      float sin = NativeNumbers.getFloat(sines + at);
      float a = NativeNumbers.getFloat(head + at);
      float b = NativeNumbers.getFloat(second + at);
      NativeNumbers.putFloat(a * cos - b * sin, head + at);
      NativeNumbers.putFloat(b * cos + a * sin, second + at);
    }
  }

  @Override
  public void write(long page, int offset, long key, long value) {
    int width = layout.width();
    long values = layout.valueOf(page, offset);
    switch (layout.format()) {
      case FLOAT32 -> FloatArithmetic.copy(value, values, width);
      case BFLOAT16 -> {
        for (int i = 0; i < width; i++) {
          NativeNumbers.put(NativeNumbers.getFloat(key + 4L * i), key + 2L * i);
          storeHalf(NativeNumbers.getFloat(value + 4L * i), offset % 2, values + 4L * i);
        }
        if (width % 2 == 1) {
          NativeNumbers.put(0, key + 2L * width);
        }
      }
      case INT8 -> {
        FloatArithmetic.read(key, this.key, 0, width);
        layout.writeBytes(page, offset, this.key, value, key);
      }
      case INT4 -> throw new IllegalStateException();
    }
    for (int step = 0; step < layout.keySteps(); step++) {
      int numbers = MEMORY.get(JAVA_INT_UNALIGNED, key + 4L * step);
      MEMORY.set(JAVA_INT_UNALIGNED, page + 4L * (POSITIONS * step + offset), numbers);
    }
  }

  /**
   * Stores a number as bfloat16 in one half of 32 bits: in the first half, with the second one
   * cleared, so that nothing that was there before may meet a factor of 0 (it might be a NaN); or
   * in the second, with the first one as it was.
   */
  private static void storeHalf(float number, int which, long to) {
    NativeNumbers.put(number, to + 2L * which);
    if (which == 0) {
      NativeNumbers.put(0, to + 2);
    }
  }

  @Override
  public void window(int positions) {
    window = positions;
  }

  @Override
  public void take(int row, long queries, int count) {
    for (int i = 0; i < layout.width(); i++) {
      query[i] = NativeNumbers.getFloat(queries + 4L * i) * function.scale();
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
    int limit = limits.get(from);
    int begin = Math.max(0, limit - window);
    largest = Float.NEGATIVE_INFINITY;
    Arrays.fill(totals, 0);
    Arrays.fill(sums, 0);
    for (int position = begin / GROUP * GROUP; position < limit; position += GROUP) {
      int end = Math.min(limit, position + GROUP);
      int start = Math.max(position, begin / POSITIONS * POSITIONS);
      Arrays.fill(scores, 0);
      for (int at = start; at < end; at += POSITIONS) {
        long page = first + pageBytes * pages.get(at / POSITIONS);
        tile.run(page, 4L * POSITIONS, layout.keySteps(), query, 0, scores, at - position);
        if (layout.hasScales()) {
          FloatArithmetic.read(page + layout.scalesAt(), keyScales, at - position, POSITIONS);
          FloatArithmetic.read(
              page + layout.scalesAt() + 4L * POSITIONS, valueScales, at - position, POSITIONS);
        }
      }
      weigh(Math.max(0, begin - position), end - position);
      for (int at = start; at < end; at += POSITIONS) {
        int index = at / POSITIONS;
        long page = index == replaced ? replacement : first + pageBytes * pages.get(index);
        mix(page, at - position, Math.min(POSITIONS, end - at));
      }
    }
  }

  /**
   * Makes weights of a group's scores: {@code exp(score - max)}, where max is the largest so far,
   * which are added to the totals of a vector's places. Where max has grown, totals and sums so far
   * are made smaller. Scores are first multiplied with the scales of their keys, and weights at
   * last with those of the values.
   *
   * @param from the first position of the group that the row sees; the others weigh 0
   * @param to behind the last
   */
  private void weigh(int from, int to) {
    float max = largest;
    for (int i = from; i < to; i++) {
      scores[i] *= keyScales[i];
      if (function.softcap() != 0) {
        scores[i] = Exponential.softcap(scores[i], function.softcap());
      }
      max = Math.max(max, scores[i]);
    }
    if (max > largest && largest > Float.NEGATIVE_INFINITY) {
      float factor = Exponential.of(largest - max);
      multiply(totals, factor);
      multiply(sums, factor);
    }
    Arrays.fill(weights, 0);
    for (int i = from; i < to; i++) {
      if (scores[i] != Float.NEGATIVE_INFINITY) { // by whose weight, 0, a scale of NaN is not taken
        float weight = Exponential.of(scores[i] - max);
        totals[i % WIDTH] += weight;
        weights[i] = weight * valueScales[i];
      }
    }
    largest = max > largest ? max : largest;
  }

  private static void multiply(float[] numbers, float factor) {
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] *= factor;
    }
  }

  /** Adds a page's first values times their weights, from a place on. */
  private void mix(long page, int at, int count) {
    int steps = Math.ceilDiv(count, layout.format().inputsTogether());
    long values = page + layout.keyBytes();
    for (int o = 0; o < sums.length; o += Tile.OUTPUTS) {
      tile.run(values + 4L * o, layout.valueStepBytes(), steps, weights, at, sums, o);
    }
  }

  @Override
  public boolean divide(int count, long out) {
    LaneSum sum = lane -> totals[lane];
    float total = sum.all();
    boolean finite = true;
    for (int i = 0; i < sums.length; i++) {
      float quotient = sums[i] / total;
      finite &= Float.isFinite(quotient);
      NativeNumbers.putFloat(quotient, out + 4L * i);
    }
    return finite;
  }
}
