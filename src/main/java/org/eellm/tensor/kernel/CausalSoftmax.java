package org.eellm.tensor.kernel;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import org.bytedeco.pytorch.Tensor;

/**
 * Softmax of attention scores that causality limits, and its gradient, in place.
 *
 * <p>Scores are [n, r, e]: the r queries at positions {@code first} to {@code first + r - 1} see
 * keys up to their own position. n counts sequences and heads; queries of a group's heads follow
 * each other, so that the second dimension may be a multiple of r.
 */
public final class CausalSoftmax {
  private static final int GRAIN = 32;

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
    Team.run(
        Math.toIntExact(scores.size(0) * scores.size(1)),
        GRAIN,
        (member, from, to) -> {
          float[] scratch = new float[keys];
          for (long i = from; i < to; i++) {
            forward(address + 2 * i * keys, keys, (int) (first + i % length + 1), scratch);
          }
        });
  }

  private static void forward(long row, int keys, int seen, float[] scratch) {
    int whole = seen / Lanes.WIDTH * Lanes.WIDTH; // Beyond it, one vector is seen in part.
    FloatVector unseen = Lanes.broadcast(Float.NEGATIVE_INFINITY);
    FloatVector largest = unseen;
    for (int i = 0; i < whole; i += Lanes.WIDTH) {
      largest = largest.max(Lanes.load(row + 2L * i));
    }
    FloatVector last = unseen;
    if (whole < seen) {
      last =
          Lanes.load(row + 2L * whole).blend(unseen, Lanes.FLOATS.indexInRange(whole, seen).not());
      largest = largest.max(last);
    }
    float max = largest.reduceLanes(VectorOperators.MAX);
    FloatVector sums = FloatVector.zero(Lanes.FLOATS);
    for (int i = 0; i < whole; i += Lanes.WIDTH) {
      FloatVector p = Lanes.expOfNegative(Lanes.load(row + 2L * i).sub(max));
      p.intoArray(scratch, i);
      sums = sums.add(p);
    }
    FloatVector p = FloatVector.zero(Lanes.FLOATS);
    if (whole < seen) {
      p = p.blend(Lanes.expOfNegative(last.sub(max)), Lanes.FLOATS.indexInRange(whole, seen));
      sums = sums.add(p);
    }
    float scale = 1 / Lanes.sum(sums);
    for (int i = 0; i < whole; i += Lanes.WIDTH) {
      Lanes.store(FloatVector.fromArray(Lanes.FLOATS, scratch, i).mul(scale), row + 2L * i);
    }
    int rest = whole;
    if (whole < seen) {
      Lanes.store(p.mul(scale), row + 2L * whole);
      rest += Lanes.WIDTH;
    }
    FloatVector zero = FloatVector.zero(Lanes.FLOATS);
    for (int i = rest; i < keys; i += Lanes.WIDTH) {
      Lanes.store(zero, row + 2L * i);
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
    Team.run(
        Math.toIntExact(gradient.size(0) * gradient.size(1)),
        GRAIN,
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
