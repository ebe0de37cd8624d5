package org.eellm.tensor.kernel;

import jdk.incubator.vector.FloatVector;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.kernel.Lanes;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * {@code y = x W^T} of a few rows x, as decoding has them, with W in bfloat16 or in int8 with a
 * scale a row: reading W once is what it costs.
 *
 * <p>Every element of y is one sum in one order, so that a row's result does not depend on how many
 * rows there are.
 *
 * <p>Four short rows at once are too many streams for the processor to foresee: while it works on
 * them it would wait for memory two thirds of the time. So the next four are fetched into its cache
 * beforehand, from one end to the other.
 */
public final class SkinnyProduct {
  /** With more rows libtorch's products are faster. */
  private static final int MAX_ROWS = 4;

  /** The same where the alternative is to make a matrix of other numbers first. */
  private static final int MAX_ROWS_INT8 = 32;

  private static final int GROUP = 4; // rows of W that are worked on together
  private static final int MAX_FETCH = 12 << 10; // bytes; the nearest cache has 32 KiB or more
  private static final int WORTH_A_MEMBER = 1 << 14; // elements of W

  private SkinnyProduct() {}

  /** Whether the kernel takes x [n, in] and weight [out, in], both bfloat16. */
  public static boolean fits(Tensor x, Tensor weight) {
    return x.size(0) <= MAX_ROWS && fitsShapes(x, weight) && Kernels.take(weight);
  }

  /** Whether the kernel takes x [n, in], bfloat16, and values [out, in], int8. */
  public static boolean fitsInt8(Tensor x, Tensor values) {
    return x.size(0) <= MAX_ROWS_INT8 && fitsShapes(x, values) && values.is_contiguous();
  }

  private static boolean fitsShapes(Tensor x, Tensor weight) {
    return Kernels.take(x) && x.size(1) % (2 * Lanes.WIDTH) == 0 && weight.size(0) % GROUP == 0;
  }

  /**
   * The product, [n, out].
   *
   * @param x [n, in]
   * @param weight [out, in]
   */
  public static Tensor forward(Tensor x, Tensor weight) {
    try (Scope scope = Scope.open()) {
      int row = Math.toIntExact(2 * x.size(1));
      return scope.pass(
          forward(spread(x), weight, row, (group, w, from, y) -> bfloat16(w, from, row, y)));
    }
  }

  /**
   * The product with {@code W = scales * values}, [n, out].
   *
   * @param x [n, in]
   * @param values int8, [out, in]
   * @param scales of the rows, float32 [out]
   */
  public static Tensor forward(Tensor x, Tensor values, Tensor scales) {
    try (Scope scope = Scope.open()) {
      int row = Math.toIntExact(x.size(1));
      long factors = scales.data_ptr().address();
      return scope.pass(
          forward(
              x.to(ScalarType.Float),
              values,
              row,
              (group, w, from, y) -> int8(w, factors + 4L * GROUP * group, from, row, y)));
    }
  }

  /** Four elements of y. */
  @FunctionalInterface
  private interface Products {
    /**
     * Multiplies.
     *
     * @param group which four rows of W
     * @param w address of the first of them
     * @param x address of a row
     * @param y address of the first element
     */
    void write(long group, long w, long x, long y);
  }

  /**
   * @param x [n, in], float32
   * @param weight [out, in]
   * @param bytes of a row of it
   */
  private static Tensor forward(Tensor x, Tensor weight, int bytes, Products products) {
    long rows = x.size(0);
    long in = x.size(1);
    long out = weight.size(0);
    Tensor y = Tensors.empty(ScalarType.BFloat16, x.device(), rows, out);
    long from = x.data_ptr().address();
    long to = y.data_ptr().address();
    long matrix = weight.data_ptr().address();
    int step = GROUP * bytes;
    Team.run(
        Math.toIntExact(out / GROUP),
        (int) Math.ceilDiv(WORTH_A_MEMBER, GROUP * in),
        (member, begin, end) -> {
          for (int group = begin; group < end; group++) {
            long w = matrix + (long) step * group;
            for (int row = 0; row < rows; row++) {
              products.write(group, w, from + 4 * row * in, to + 2 * (row * out + GROUP * group));
            }
            if (step <= MAX_FETCH && group + 1 < end) {
              Lanes.fetch(w + step, step);
            }
          }
        });
    return y;
  }

  /** Rows x as float32, in each those at even places before those at odd ones, [n, in]. */
  private static Tensor spread(Tensor x) {
    Tensor spread = Tensors.empty(ScalarType.Float, x.device(), x.size(0), x.size(1));
    int bytes = Math.toIntExact(2 * x.size(1));
    for (int row = 0; row < x.size(0); row++) {
      spread(
          x.data_ptr().address() + (long) row * bytes,
          bytes,
          spread.data_ptr().address() + 2L * row * bytes);
    }
    return spread;
  }

  private static void spread(long x, int bytes, long out) {
    for (int i = 0; i < bytes; i += 4 * Lanes.WIDTH) {
      Lanes.storeFloats(Lanes.loadEven(x + i), out + i);
      Lanes.storeFloats(Lanes.loadOdd(x + i), out + bytes + i);
    }
  }

  /**
   * @param w four rows
   * @param bytes of a row of w
   */
  private static void bfloat16(long w, long x, int bytes, long y) {
    FloatVector a = FloatVector.zero(Lanes.FLOATS);
    FloatVector b = a;
    FloatVector c = a;
    FloatVector d = a;
    for (int i = 0; i < bytes; i += 4 * Lanes.WIDTH) {
      FloatVector even = Lanes.loadFloats(x + i);
      FloatVector odd = Lanes.loadFloats(x + bytes + i);
      a = Lanes.loadOdd(w + i).fma(odd, Lanes.loadEven(w + i).fma(even, a));
      b = Lanes.loadOdd(w + bytes + i).fma(odd, Lanes.loadEven(w + bytes + i).fma(even, b));
      c =
          Lanes.loadOdd(w + 2L * bytes + i)
              .fma(odd, Lanes.loadEven(w + 2L * bytes + i).fma(even, c));
      d =
          Lanes.loadOdd(w + 3L * bytes + i)
              .fma(odd, Lanes.loadEven(w + 3L * bytes + i).fma(even, d));
    }
    Lanes.putSums(a, b, c, d, y);
  }

  /**
   * @param w four rows
   * @param scales theirs
   * @param in bytes of a row of w
   */
  private static void int8(long w, long scales, long x, int in, long y) {
    FloatVector a = FloatVector.zero(Lanes.FLOATS);
    FloatVector b = a;
    FloatVector c = a;
    FloatVector d = a;
    for (int i = 0; i < in; i += Lanes.WIDTH) {
      FloatVector v = Lanes.loadFloats(x + 4L * i);
      a = Lanes.loadBytes(w + i).fma(v, a);
      b = Lanes.loadBytes(w + in + i).fma(v, b);
      c = Lanes.loadBytes(w + 2L * in + i).fma(v, c);
      d = Lanes.loadBytes(w + 3L * in + i).fma(v, d);
    }
    Lanes.putSums(a, b, c, d, scales, y);
  }
}
