package org.eellm.tensor.kernel;

import java.lang.foreign.ValueLayout;
import java.util.function.LongUnaryOperator;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import org.bytedeco.pytorch.Tensor;
import org.eellm.kernel.vector.Lanes;
import org.eellm.kernel.vector.NativeNumbers;

/**
 * Softmax of attention scores that causality limits, and its gradient, in place.
 *
 * <p>Scores are [n, r, e] of r queries and e keys, both at consecutive positions. A query sees keys
 * up to its own position, from the first that {@link KeyStarts} lets it see. n counts sequences and
 * heads; queries of a group's heads follow each other, so that the second dimension may be a
 * multiple of r.
 */
public final class CausalSoftmax {
  private static final int GRAIN_SIZE = 32;

  private CausalSoftmax() {}

  public static boolean fits(Tensor scores) {
    return TensorKernels.take(scores);
  }

  /**
   * Replaces scores by probabilities; those of keys that a query does not see become 0.
   *
   * @param first position of the first query
   * @param length r
   */
  public static void forward(Tensor scores, long first, long length, long key, KeyStarts starts) {
    long address = scores.data_ptr().address();
    int keys = Math.toIntExact(scores.size(2));
    long rows = scores.size(0) * scores.size(1);
    LongUnaryOperator begin = begin(rows, first, length, starts);
    OpenMpTeam.parallelFor(
        Math.toIntExact(rows),
        GRAIN_SIZE,
        (member, from, to) -> {
          float[] scratch = new float[keys];
          for (long i = from; i < to; i++) {
            int start = (int) Math.max(0, begin.applyAsLong(i) - key);
            int seen = (int) (first + i % length + 1 - key);
            forward(address + 2 * i * keys, keys, start, seen, scratch);
          }
        });
  }

  /** The first key of a row of scores. */
  private static LongUnaryOperator begin(long rows, long first, long length, KeyStarts starts) {
    return switch (starts) {
      case KeyStarts.OfSequence _ -> _ -> 0;
      case KeyStarts.OfTokens(Tensor positions) -> {
        long tokens = positions.size(1);
        long rowsOfSequence = rows / positions.size(0);
        long address = positions.data_ptr().address();
        yield i ->
            NativeNumbers.MEMORY.get(
                ValueLayout.JAVA_LONG_UNALIGNED,
                address + 8 * (i / rowsOfSequence * tokens + first + i % length));
      }
    };
  }

  private static void forward(long row, int keys, int start, int seen, float[] scratch) {
    int begin = start / Lanes.WIDTH * Lanes.WIDTH;
    int end = Math.ceilDiv(seen, Lanes.WIDTH) * Lanes.WIDTH;
    hide(row, begin, start, end, seen, Float.NEGATIVE_INFINITY);
    float sum = exponentials(row, begin, end, max(row, begin, end), scratch);
    clear(row, 0, begin);
    store(scratch, begin, end, 1 / sum, row);
    clear(row, end, keys);
    hide(row, begin, start, end, seen, 0);
  }

  /** Replaces the keys that are not seen in the first and in the last vector with some that are. */
  private static void hide(long row, int begin, int start, int end, int seen, float value) {
    if (begin < start) {
      hideVector(row, begin, start, seen, value);
    }
    if (seen < end) {
      hideVector(row, end - Lanes.WIDTH, start, seen, value);
    }
  }

  private static void hideVector(long row, int key, int start, int seen, float value) {
    long address = row + 2L * key;
    VectorMask<Float> shown = Lanes.FLOATS.indexInRange(key - start, seen - start);
    Lanes.store(Lanes.broadcast(value).blend(Lanes.load(address), shown), address);
  }

  /** Of bfloat16 numbers, as in what follows. */
  static float max(long row, int begin, int end) {
    FloatVector largest = Lanes.broadcast(Float.NEGATIVE_INFINITY);
    for (int i = begin; i < end; i += Lanes.WIDTH) {
      largest = largest.max(Lanes.load(row + 2L * i));
    }
    return largest.reduceLanes(VectorOperators.MAX);
  }

  /** Fills {@code out} with exp(z - max); returns the sum. */
  static float exponentials(long row, int begin, int end, float max, float[] out) {
    FloatVector sums = FloatVector.zero(Lanes.FLOATS);
    for (int i = begin; i < end; i += Lanes.WIDTH) {
      FloatVector z = Lanes.load(row + 2L * i);
      FloatVector p = Lanes.expOfNegative(z.sub(max));
      p.intoArray(out, i);
      sums = sums.add(p);
    }
    return Lanes.sum(sums);
  }

  /** Stores values times a factor. */
  static void store(float[] values, int begin, int end, float scale, long row) {
    for (int i = begin; i < end; i += Lanes.WIDTH) {
      Lanes.store(FloatVector.fromArray(Lanes.FLOATS, values, i).mul(scale), row + 2L * i);
    }
  }

  private static void clear(long row, int begin, int end) {
    FloatVector zero = FloatVector.zero(Lanes.FLOATS);
    for (int i = begin; i < end; i += Lanes.WIDTH) {
      Lanes.store(zero, row + 2L * i);
    }
  }

  /**
   * Replaces the probabilities' gradient by the scores': {@code p (g - sum(p g))}.
   *
   * @param probabilities what {@link #forward} gave
   * @param gradient of the same shape
   * @param first position of the first query, counted from the first key's
   */
  public static void backward(Tensor probabilities, Tensor gradient, long first, long length) {
    long p = probabilities.data_ptr().address();
    long g = gradient.data_ptr().address();
    int keys = Math.toIntExact(gradient.size(2));
    OpenMpTeam.parallelFor(
        Math.toIntExact(gradient.size(0) * gradient.size(1)),
        GRAIN_SIZE,
        (member, from, to) -> {
          for (long i = from; i < to; i++) {
            long at = 2 * i * keys;
            backward(p + at, g + at, keys, (int) (first + i % length + 1));
          }
        });
  }

  private static void backward(long p, long g, int keys, int seen) {
    int end = Math.ceilDiv(seen, Lanes.WIDTH) * Lanes.WIDTH;
    FloatVector products = FloatVector.zero(Lanes.FLOATS);
    for (long i = 0; i < 2L * end; i += 2 * Lanes.WIDTH) {
      products = Lanes.load(p + i).fma(Lanes.load(g + i), products);
    }
    float inner = Lanes.sum(products);
    for (long i = 0; i < 2L * end; i += 2 * Lanes.WIDTH) {
      Lanes.store(Lanes.load(p + i).mul(Lanes.load(g + i).sub(inner)), g + i);
    }
    clear(g, end, keys);
  }
}
