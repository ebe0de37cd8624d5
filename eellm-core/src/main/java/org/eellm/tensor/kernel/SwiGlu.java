package org.eellm.tensor.kernel;

import jdk.incubator.vector.FloatVector;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.eellm.kernel.vector.Lanes;
import org.eellm.tensor.Tensors;

/** {@code silu(gate) * up} of rows that hold both, and its gradient, in one pass each. */
public final class SwiGlu {
  private static final int GRAIN_SIZE = 8;
  private static final FloatVector ONE = Lanes.broadcast(1);

  private SwiGlu() {}

  /** Whether the kernels take rows {@code inner}, [n, 2 ffn]. */
  public static boolean fits(Tensor inner) {
    return TensorKernels.take(inner) && inner.size(1) / 2 % Lanes.WIDTH == 0;
  }

  /**
   * The activation, [n, ffn].
   *
   * @param inner gate and up, [n, 2 ffn]
   */
  public static Tensor forward(Tensor inner) {
    Tensor out =
        Tensors.empty(inner.scalar_type(), inner.device(), inner.size(0), inner.size(1) / 2);
    long in = inner.data_ptr().address();
    long result = out.data_ptr().address();
    long row = 2 * out.size(1); // bytes
    OpenMpTeam.parallelFor(
        Math.toIntExact(out.size(0)),
        GRAIN_SIZE,
        (member, from, to) -> {
          for (int i = from; i < to; i++) {
            forward(in + 2 * row * i, result + row * i, row);
          }
        });
    return out;
  }

  private static void forward(long gate, long out, long bytes) {
    for (long i = 0; i < bytes; i += 2 * Lanes.WIDTH) {
      FloatVector x = Lanes.load(gate + i);
      Lanes.store(x.mul(Lanes.sigmoid(x)).mul(Lanes.load(gate + bytes + i)), out + i);
    }
  }

  /**
   * The gradient of inner, [n, 2 ffn].
   *
   * @param inner gate and up, [n, 2 ffn]
   * @param gradient of the activation, [n, ffn]
   */
  public static Tensor backward(Tensor inner, Tensor gradient) {
    Tensor out = torch.empty_like(inner);
    long in = inner.data_ptr().address();
    long g = gradient.data_ptr().address();
    long result = out.data_ptr().address();
    long row = 2 * gradient.size(1); // bytes
    OpenMpTeam.parallelFor(
        Math.toIntExact(gradient.size(0)),
        GRAIN_SIZE,
        (member, from, to) -> {
          float[] sigmoids = new float[(int) (row / 2)];
          for (int i = from; i < to; i++) {
            long gate = in + 2 * row * i;
            sigmoids(gate, sigmoids);
            backward(gate, sigmoids, g + row * i, result + 2 * row * i, row);
          }
        });
    return out;
  }

  private static void sigmoids(long gate, float[] out) {
    for (int i = 0; i < out.length; i += Lanes.WIDTH) {
      Lanes.sigmoid(Lanes.load(gate + 2L * i)).intoArray(out, i);
    }
  }

  private static void backward(long gate, float[] sigmoids, long gradient, long out, long bytes) {
    for (long i = 0; i < bytes; i += 2 * Lanes.WIDTH) {
      FloatVector x = Lanes.load(gate + i);
      FloatVector sigmoid = FloatVector.fromArray(Lanes.FLOATS, sigmoids, (int) (i / 2));
      FloatVector g = Lanes.load(gradient + i).mul(sigmoid);
      // silu'(x) = sigmoid(x) (1 + x (1 - sigmoid(x)))
      FloatVector slope = ONE.sub(sigmoid).fma(x, ONE);
      Lanes.store(g.mul(Lanes.load(gate + bytes + i)).mul(slope), out + i);
      Lanes.store(g.mul(x), out + bytes + i);
    }
  }
}
