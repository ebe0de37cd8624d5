package org.eellm.tensor.kernel;

import java.util.Arrays;
import java.util.List;
import jdk.incubator.vector.FloatVector;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.kernel.Lanes;

/**
 * Attention of a few rows of a sequence over keys and values in float32, as decoding has it: what
 * libtorch's operations for it cost is mostly their number.
 *
 * <p>Shapes: n rows, H query heads, K key/value heads, D head dimension. Every result is one sum in
 * the order of positions, so that it depends neither on how many rows there are nor on where
 * positions lie.
 */
public final class CachedAttention {
  /** Of rows, heads, positions and width: with more work libtorch's products are faster. */
  private static final long MAX_WORK = 1 << 19;

  private static final int WORTH_A_MEMBER = 1 << 14; // products of a head
  private static final int GROUP = 4; // keys, or vectors of a value, worked on together

  private CachedAttention() {}

  /**
   * Positions that follow each other in memory too.
   *
   * @param position the first
   * @param row of the cache where it lies
   */
  public record Run(int position, int row, int count) {

    /** The position behind the last. */
    public int end() {
      return position + count;
    }
  }

  /**
   * Whether the kernel can attend.
   *
   * @param type of queries, and of keys and values before they are written
   * @param cacheType of the cache
   * @param width D
   */
  public static boolean fits(Device device, ScalarType type, ScalarType cacheType, int width) {
    return Kernels.available()
        && device.is_cpu()
        && type.intern() == ScalarType.BFloat16
        && cacheType.intern() == ScalarType.Float
        && width % Lanes.WIDTH == 0;
  }

  /**
   * Whether the kernel is faster than libtorch's operations for so many rows, the last of which
   * attends to that many positions.
   *
   * @param width H D
   */
  public static boolean isFaster(int rows, int positions, int width) {
    return (long) rows * positions * width <= MAX_WORK;
  }

  /**
   * Writes a row's keys and values into the cache.
   *
   * @param keyValue bfloat16, keys of all heads, then values, [.., 2 K, D], each row in one piece
   * @param row of keyValue
   * @param cache float32, [2 K, .., D], contiguous
   * @param to row of the cache
   */
  public static void write(Tensor keyValue, int row, Tensor cache, int to) {
    long width = keyValue.size(2);
    long from = keyValue.data_ptr().address() + 2 * row * keyValue.stride(0);
    long into = cache.data_ptr().address() + 4L * to * width;
    for (int head = 0; head < keyValue.size(1); head++) {
      widen(from + 2 * head * width, into + 4 * head * cache.stride(0), width);
    }
  }

  /**
   * Lets rows attend, each to all positions up to its own. The last row's is the last one.
   *
   * @param query scaled, bfloat16, [.., H, D], each row in one piece
   * @param first row of it, and of out
   * @param rows n
   * @param cache float32, [2 K, .., D], contiguous
   * @param runs where positions lie, in order, from 0
   * @param out bfloat16, [.., H D], contiguous
   */
  public static void attend(
      Tensor query, int first, int rows, Tensor cache, List<Run> runs, Tensor out) {
    int heads = (int) query.size(1);
    int width = (int) query.size(2);
    int length = runs.getLast().end();
    int group = (int) (2 * heads / cache.size(0));
    long step = 2 * query.stride(0);
    long queries = query.data_ptr().address() + first * step;
    long head = 4 * cache.stride(0);
    long keys = cache.data_ptr().address();
    long toValues = head * cache.size(0) / 2;
    long results = out.data_ptr().address() + 2L * first * heads * width;
    Team.run(
        rows * heads,
        Math.ceilDiv(WORTH_A_MEMBER, length * width),
        (member, from, to) -> {
          Head one = new Head(width, length);
          for (int i = from; i < to; i++) {
            int row = i / heads;
            int h = i % heads;
            one.attend(
                queries + row * step + 2L * h * width,
                keys + h / group * head,
                toValues,
                runs,
                length - rows + row + 1,
                results + 2L * i * width);
          }
        });
  }

  /** One head's attention at a time. */
  private static final class Head {
    private final int width;
    private final float[] query;
    private final float[] weights; // of positions, in whole groups and vectors
    private final float[] sums;

    Head(int width, int length) {
      this.width = width;
      query = new float[width];
      weights = new float[Math.ceilDiv(length + GROUP, Lanes.WIDTH) * Lanes.WIDTH];
      sums = new float[width];
    }

    /**
     * Attends.
     *
     * @param keys address of the head's first key in the cache
     * @param toValues bytes from a key to its value
     * @param count positions to attend to, the first ones
     * @param out address of the result
     */
    void attend(long from, long keys, long toValues, List<Run> runs, int count, long out) {
      widen(from, query);
      for (Run run : runs) {
        int end = Math.min(run.end(), count);
        for (int i = run.position(); i < end; i += GROUP) {
          long key = keys + 4L * width * (run.row() + i - run.position());
          int last = Math.min(GROUP, end - i) - 1;
          scores(query, key, 4L * width, last, weights, i);
        }
      }
      float total = exponentials(weights, count);
      Arrays.fill(sums, 0);
      for (Run run : runs) {
        int end = Math.min(run.end(), count);
        if (run.position() < end) {
          long value = keys + toValues + 4L * width * run.row();
          int lane = 0;
          for (; lane + GROUP * Lanes.WIDTH <= width; lane += GROUP * Lanes.WIDTH) {
            weighGroup(weights, run.position(), end, value + 4L * lane, 4L * width, sums, lane);
          }
          for (; lane < width; lane += Lanes.WIDTH) {
            weigh(weights, run.position(), end, value + 4L * lane, 4L * width, sums, lane);
          }
        }
      }
      narrow(sums, 1 / total, out);
    }
  }

  private static void widen(long from, long to, long width) {
    for (long i = 0; i < width; i += Lanes.WIDTH) {
      Lanes.storeFloats(Lanes.load(from + 2 * i), to + 4 * i);
    }
  }

  private static void widen(long from, float[] to) {
    for (int i = 0; i < to.length; i += Lanes.WIDTH) {
      Lanes.load(from + 2L * i).intoArray(to, i);
    }
  }

  /** The products of the query with four keys, of which those behind {@code last} are it again. */
  private static void scores(float[] query, long key, long step, int last, float[] out, int at) {
    long second = key + Math.min(1, last) * step;
    long third = key + Math.min(2, last) * step;
    long fourth = key + last * step;
    FloatVector a = FloatVector.zero(Lanes.FLOATS);
    FloatVector b = a;
    FloatVector c = a;
    FloatVector d = a;
    for (int i = 0; i < query.length; i += Lanes.WIDTH) {
      FloatVector q = FloatVector.fromArray(Lanes.FLOATS, query, i);
      a = q.fma(Lanes.loadFloats(key + 4L * i), a);
      b = q.fma(Lanes.loadFloats(second + 4L * i), b);
      c = q.fma(Lanes.loadFloats(third + 4L * i), c);
      d = q.fma(Lanes.loadFloats(fourth + 4L * i), d);
    }
    Lanes.putSums(a, b, c, d, out, at);
  }

  /** Makes scores exponentials of what they are below the largest; their sum. */
  private static float exponentials(float[] scores, int count) {
    float largest = Float.NEGATIVE_INFINITY;
    for (int i = 0; i < count; i++) {
      largest = Math.max(largest, scores[i]);
    }
    exponentials(scores, count, largest);
    float total = 0;
    for (int i = 0; i < count; i++) {
      total += scores[i];
    }
    return total;
  }

  private static void exponentials(float[] scores, int count, float largest) {
    for (int i = 0; i < count; i += Lanes.WIDTH) {
      Lanes.expOfNegative(FloatVector.fromArray(Lanes.FLOATS, scores, i).sub(largest))
          .intoArray(scores, i);
    }
  }

  /** Adds values of positions times their weights, a vector of each. */
  private static void weigh(
      float[] weights, int from, int to, long value, long step, float[] sums, int lane) {
    FloatVector sum = FloatVector.fromArray(Lanes.FLOATS, sums, lane);
    for (int i = from; i < to; i++) {
      sum = Lanes.loadFloats(value + (i - from) * step).fma(Lanes.broadcast(weights[i]), sum);
    }
    sum.intoArray(sums, lane);
  }

  /** The same, four vectors of each. */
  private static void weighGroup(
      float[] weights, int from, int to, long value, long step, float[] sums, int lane) {
    FloatVector a = FloatVector.fromArray(Lanes.FLOATS, sums, lane);
    FloatVector b = FloatVector.fromArray(Lanes.FLOATS, sums, lane + Lanes.WIDTH);
    FloatVector c = FloatVector.fromArray(Lanes.FLOATS, sums, lane + 2 * Lanes.WIDTH);
    FloatVector d = FloatVector.fromArray(Lanes.FLOATS, sums, lane + 3 * Lanes.WIDTH);
    for (int i = from; i < to; i++) {
      long at = value + (i - from) * step;
      FloatVector weight = Lanes.broadcast(weights[i]);
      a = Lanes.loadFloats(at).fma(weight, a);
      b = Lanes.loadFloats(at + 4 * Lanes.WIDTH).fma(weight, b);
      c = Lanes.loadFloats(at + 8 * Lanes.WIDTH).fma(weight, c);
      d = Lanes.loadFloats(at + 12 * Lanes.WIDTH).fma(weight, d);
    }
    a.intoArray(sums, lane);
    b.intoArray(sums, lane + Lanes.WIDTH);
    c.intoArray(sums, lane + 2 * Lanes.WIDTH);
    d.intoArray(sums, lane + 3 * Lanes.WIDTH);
  }

  private static void narrow(float[] sums, float factor, long out) {
    for (int i = 0; i < sums.length; i += Lanes.WIDTH) {
      Lanes.store(FloatVector.fromArray(Lanes.FLOATS, sums, i).mul(factor), out + 2L * i);
    }
  }
}
