package org.eellm.tensor.kernel;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import org.bytedeco.pytorch.Tensor;
import org.eellm.kernel.vector.Lanes;

/**
 * Softmax of attention scores that causality limits, and its gradient, in place.
 *
 * <p>Scores are [n, r, e]: the r queries at positions {@code first} to {@code first + r - 1} see
 * keys up to their own position. n counts sequences and heads; queries of a group's heads follow
 * each other, so that the second dimension may be a multiple of r.
 */
public final class CausalSoftmax {
  private static final int GRAIN_SIZE = 32;

  private CausalSoftmax() {}

  /** Whether the kernels take {@code scores}. */
  public static boolean fits(Tensor scores) {
    return Kernels.take(scores);
  }

  /**
   * Replaces scores by probabilities; those of keys that a query does not see become 0.
   *
   * @param length r
   */
  public static void forward(Tensor scores, long first, long length) {
    long address = scores.data_ptr().address();
    int keys = Math.toIntExact(scores.size(2));
    OpenMpTeam.parallelFor(
        Math.toIntExact(scores.size(0) * scores.size(1)),
        GRAIN_SIZE,
        (member, from, to) -> {
          float[] scratch = new float[keys];
          for (long i = from; i < to; i++) {
            forward(address + 2 * i * keys, keys, (int) (first + i % length + 1), scratch);
          }
        });
  }

  private static void forward(long row, int keys, int seen, float[] scratch) {
    float sum = exponentials(row, seen, max(row, seen), scratch);
    int end = Math.ceilDiv(seen, Lanes.WIDTH) * Lanes.WIDTH;
    store(scratch, end, 1 / sum, row);
    FloatVector zero = FloatVector.zero(Lanes.FLOATS);
    for (int i = end; i < keys; i += Lanes.WIDTH) {
      Lanes.store(zero, row + 2L * i);
    }
  }

  private static float max(long row, int seen) {
    FloatVector unseen = Lanes.broadcast(Float.NEGATIVE_INFINITY);
    FloatVector largest = unseen;
    int i = 0;
    for (; i <= seen - Lanes.WIDTH; i += Lanes.WIDTH) {
      largest = largest.max(Lanes.load(row + 2L * i));
    }
    if (i < seen) { // One vector is seen in part.
      var hidden = Lanes.FLOATS.indexInRange(i, seen).not();
      largest = largest.max(Lanes.load(row + 2L * i).blend(unseen, hidden));
    }
    return largest.reduceLanes(VectorOperators.MAX);
  }

  /** Fills {@code out} with exp(z - max), and with 0 up to a whole vector; returns the sum. */
  private static float exponentials(long row, int seen, float max, float[] out) {
    FloatVector sums = FloatVector.zero(Lanes.FLOATS);
    for (int i = 0; i < seen; i += Lanes.WIDTH) {
      FloatVector p = Lanes.expOfNegative(Lanes.load(row + 2L * i).sub(max));
      if (i > seen - Lanes.WIDTH) {
        p = p.blend(0, Lanes.FLOATS.indexInRange(i, seen).not());
      }
      p.intoArray(out, i);
      sums = sums.add(p);
    }
    return Lanes.sum(sums);
  }

  private static void store(float[] values, int end, float scale, long row) {
    for (int i = 0; i < end; i += Lanes.WIDTH) {
      Lanes.store(FloatVector.fromArray(Lanes.FLOATS, values, i).mul(scale), row + 2L * i);
    }
  }

  /**
   * Replaces the probabilities' gradient by the scores': {@code p (g - sum(p g))}.
   *
   * @param probabilities what {@link #forward} gave
   * @param gradient of the same shape
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
    long end = 2L * Math.ceilDiv(seen, Lanes.WIDTH) * Lanes.WIDTH;
    FloatVector products = FloatVector.zero(Lanes.FLOATS);
    for (long i = 0; i < end; i += 2 * Lanes.WIDTH) {
      products = Lanes.load(p + i).fma(Lanes.load(g + i), products);
    }
    float inner = Lanes.sum(products);
    for (long i = 0; i < end; i += 2 * Lanes.WIDTH) {
      Lanes.store(Lanes.load(p + i).mul(Lanes.load(g + i).sub(inner)), g + i);
    }
    FloatVector zero = FloatVector.zero(Lanes.FLOATS);
    for (long i = end; i < 2L * keys; i += 2 * Lanes.WIDTH) {
      Lanes.store(zero, g + i);
    }
  }
}
