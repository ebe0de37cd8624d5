package org.eellm.tensor.kernel;

import jdk.incubator.vector.FloatVector;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.kernel.vector.Lanes;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * {@code x / sqrt(mean(x^2) + epsilon) * weight} of rows, and its gradients, in one pass each; with
 * one plus the weight where weights are zero-centered.
 */
public final class RmsNormalization {
  private static final int GRAIN_SIZE = 16;

  private RmsNormalization() {}

  /** Whether the kernels take rows {@code x}, [n, h]. */
  public static boolean fits(Tensor x) {
    return TensorKernels.take(x);
  }

  /** x [n, h] and weight [h] to [n, h]. */
  public static Tensor forward(Tensor x, Tensor weight, boolean zeroCentered, double epsilon) {
    Tensor out = torch.empty_like(x);
    long in = x.data_ptr().address();
    long result = out.data_ptr().address();
    int width = Math.toIntExact(x.size(1));
    Rows rows = Rows.of(weight, zeroCentered, epsilon);
    OpenMpTeam.parallelFor(
        Math.toIntExact(x.size(0)),
        GRAIN_SIZE,
        (member, from, to) -> {
          for (long i = from; i < to; i++) {
            long at = 2 * i * width;
            rows.forward(in + at, result + at);
          }
        });
    return out;
  }

  /**
   * The gradients from that of the output.
   *
   * @param x gradient of the input, [n, h]
   * @param weight gradient of the weight, float32 [h]
   */
  public record Backward(Tensor x, Tensor weight) {}

  /** The gradients of x [n, h] and weight [h] from that of the output, g [n, h]. */
  public static Backward backward(
      Tensor x, Tensor weight, boolean zeroCentered, Tensor g, double epsilon) {
    try (Scope scope = Scope.open()) {
      int width = Math.toIntExact(x.size(1));
      Tensor out = torch.empty_like(x);
      Tensor sums = Tensors.zeros(ScalarType.Float, x.device(), OpenMpTeam.size(), width);
      long in = x.data_ptr().address();
      Rows rows = Rows.of(weight, zeroCentered, epsilon);
      long gradient = g.data_ptr().address();
      long result = out.data_ptr().address();
      long sum = sums.data_ptr().address();
      OpenMpTeam.parallelFor(
          Math.toIntExact(x.size(0)),
          GRAIN_SIZE,
          (member, from, to) -> {
            for (long i = from; i < to; i++) {
              long at = 2 * i * width;
              rows.backward(in + at, gradient + at, result + at, sum + 4L * member * width);
            }
          });
      return new Backward(scope.moveToOuter(out), scope.moveToOuter(sums.sum(0)));
    }
  }

  /**
   * Rows of one width.
   *
   * @param zeroCentered whether one is added to it
   */
  private record Rows(long weight, boolean zeroCentered, int width, float epsilon) {

    static Rows of(Tensor weight, boolean zeroCentered, double epsilon) {
      return new Rows(
          weight.data_ptr().address(),
          zeroCentered,
          Math.toIntExact(weight.numel()),
          (float) epsilon);
    }

    void forward(long x, long out) {
      float inverse = inverse(x);
      for (long i = 0; i < 2L * width; i += 2 * Lanes.WIDTH) {
        Lanes.store(Lanes.load(x + i).mul(inverse).mul(scale(i)), out + i);
      }
    }

    private FloatVector scale(long i) {
      FloatVector scale = Lanes.load(weight + i);
      return zeroCentered ? scale.add(1) : scale;
    }

    private float inverse(long x) {
      FloatVector squares = FloatVector.zero(Lanes.FLOATS);
      for (long i = 0; i < 2L * width; i += 2 * Lanes.WIDTH) {
        FloatVector v = Lanes.load(x + i);
        squares = v.fma(v, squares);
      }
      float mean = Lanes.sum(squares) / width;
      return (float) (1 / Math.sqrt(mean + epsilon));
    }

    void backward(long x, long g, long out, long weightSum) {
      float inverse = inverse(x);
      float along = // the part of the gradient along x
          -product(x, g) * inverse * inverse * inverse / width;
      gradients(x, g, out, weightSum, inverse, along);
    }

    /** The sum of x weight g. */
    private float product(long x, long g) {
      FloatVector products = FloatVector.zero(Lanes.FLOATS);
      for (long i = 0; i < 2L * width; i += 2 * Lanes.WIDTH) {
        products = Lanes.load(x + i).mul(Lanes.load(g + i)).fma(scale(i), products);
      }
      return Lanes.sum(products);
    }

    private void gradients(long x, long g, long out, long weightSum, float inverse, float along) {
      for (long i = 0; i < 2L * width; i += 2 * Lanes.WIDTH) {
        FloatVector v = Lanes.load(x + i);
        FloatVector scaled = Lanes.load(g + i).mul(inverse);
        Lanes.store(v.mul(along).add(scaled.mul(scale(i))), out + i);
        long sum = weightSum + 2 * i;
        Lanes.storeFloats(v.fma(scaled, Lanes.loadFloats(sum)), sum);
      }
    }
  }
}
