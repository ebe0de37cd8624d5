package org.eellm.tensor.kernel;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.kernel.Lanes;
import org.eellm.tensor.Tensors;

/**
 * The largest of every row of logits and its softmax's normaliser, without a tensor in between:
 * what every head that is asked costs beside its matrix product.
 */
public final class LogitRows {
  private static final int WORTH_A_MEMBER = 1 << 14; // logits

  private LogitRows() {}

  /** Of each row the largest number, NaN if there is one, and the first place of it. */
  public record Largest(float[] values, int[] places) {}

  /** Whether the kernel takes logits [n, V]: float32 on the CPU, each row in one piece. */
  public static boolean fits(Tensor logits) {
    return Kernels.available()
        && logits.device().is_cpu()
        && Tensors.scalarType(logits) == ScalarType.Float
        && logits.stride(1) == 1;
  }

  /** The largest of each row of logits, [n, V]. */
  public static Largest largest(Tensor logits) {
    int rows = Math.toIntExact(logits.size(0));
    int width = Math.toIntExact(logits.size(1));
    Largest found = new Largest(new float[rows], new int[rows]);
    overRows(
        logits,
        (row, address) -> {
          float max = max(address, width);
          found.values[row] = max;
          found.places[row] = place(max, address, width);
        });
    return found;
  }

  /**
   * {@code log(sum(exp(z / temperature)))} of each row of logits, [n, V].
   *
   * @param largest of each row
   */
  public static float[] logSumExp(Tensor logits, float[] largest, double temperature) {
    int width = Math.toIntExact(logits.size(1));
    float[] normalizers = new float[largest.length];
    overRows(
        logits,
        (row, address) -> {
          float max = largest[row];
          double sum = sumOfExponentials(address, width, max, (float) (1 / temperature));
          normalizers[row] = (float) (max / temperature + Math.log(sum));
        });
    return normalizers;
  }

  @FunctionalInterface
  private interface Work {
    /**
     * Looks at a row.
     *
     * @param address of its first logit
     */
    void on(int row, long address);
  }

  private static void overRows(Tensor logits, Work work) {
    long start = logits.data_ptr().address();
    long bytes = Float.BYTES * logits.stride(0);
    int grain = Math.ceilDiv(WORTH_A_MEMBER, Math.max(1, Math.toIntExact(logits.size(1))));
    Team.run(
        Math.toIntExact(logits.size(0)),
        grain,
        (member, from, to) -> {
          for (int row = from; row < to; row++) {
            work.on(row, start + row * bytes);
          }
        });
  }

  private static float max(long row, int width) {
    FloatVector vectors = Lanes.broadcast(Float.NEGATIVE_INFINITY);
    int whole = Lanes.FLOATS.loopBound(width);
    for (int i = 0; i < whole; i += Lanes.WIDTH) {
      vectors = vectors.max(Lanes.loadFloats(row + 4L * i));
    }
    float max = vectors.reduceLanes(VectorOperators.MAX);
    for (int i = whole; i < width; i++) {
      max = Math.max(max, Lanes.getFloat(row + 4L * i));
    }
    return max;
  }

  private static int place(float value, long row, int width) {
    int whole = Lanes.FLOATS.loopBound(width);
    for (int i = 0; i < whole; i += Lanes.WIDTH) {
      VectorMask<Float> equal = Lanes.loadFloats(row + 4L * i).compare(VectorOperators.EQ, value);
      if (equal.anyTrue()) {
        return i + equal.firstTrue();
      }
    }
    for (int i = whole; i < width; i++) {
      if (Lanes.getFloat(row + 4L * i) == value) {
        return i;
      }
    }
    return 0; // NaN equals nothing.
  }

  private static double sumOfExponentials(long row, int width, float max, float factor) {
    FloatVector sums = FloatVector.zero(Lanes.FLOATS);
    int whole = Lanes.FLOATS.loopBound(width);
    for (int i = 0; i < whole; i += Lanes.WIDTH) {
      sums = sums.add(Lanes.expOfNegative(Lanes.loadFloats(row + 4L * i).sub(max).mul(factor)));
    }
    double sum = Lanes.sum(sums);
    for (int i = whole; i < width; i++) {
      sum += Math.exp((Lanes.getFloat(row + 4L * i) - max) * factor);
    }
    return sum;
  }
}
