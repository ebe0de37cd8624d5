package org.eellm.tensor.kernel;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.kernel.vector.Lanes;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * One update of AdamW: with g the gradient, {@code m = beta1 m + firstGain g}, {@code v = beta2 v +
 * secondGain g^2}, {@code p = decay p - rate m / (sqrt(v) + epsilon)}. On the CPU it goes over its
 * buffers once, which is what memory allows at best.
 */
public record AdamWStep(
    double beta1,
    double firstGain,
    double beta2,
    double secondGain,
    double epsilon,
    double decay,
    double rate) {
  private static final int GRAIN_SIZE = 1024;

  /**
   * Updates flat buffers, float32 but for the last.
   *
   * @param weights p in the compute format; p itself where that is float32
   */
  public void apply(Tensor g, Tensor m, Tensor v, Tensor p, Tensor weights) {
    long count = g.numel();
    long whole =
        TensorKernels.available() && g.device().is_cpu() ? count / Lanes.WIDTH * Lanes.WIDTH : 0;
    if (whole > 0) {
      applyKernel(g, m, v, p, weights, Math.toIntExact(whole / Lanes.WIDTH));
    }
    if (whole < count) {
      try (Scope scope = Scope.open()) {
        long rest = count - whole;
        applyLibtorch(
            g.narrow(0, whole, rest),
            m.narrow(0, whole, rest),
            v.narrow(0, whole, rest),
            p.narrow(0, whole, rest),
            weights.narrow(0, whole, rest));
      }
    }
  }

  private void applyLibtorch(Tensor g, Tensor m, Tensor v, Tensor p, Tensor weights) {
    m.mul_(new Scalar(beta1)).add_(g, new Scalar(firstGain));
    v.mul_(new Scalar(beta2)).addcmul_(g, g, new Scalar(secondGain));
    p.mul_(new Scalar(decay)).addcdiv_(m, v.sqrt().add_(new Scalar(epsilon)), new Scalar(-rate));
    if (isMixed(weights)) {
      weights.copy_(p);
    }
  }

  private void applyKernel(
      Tensor gradient, Tensor first, Tensor second, Tensor master, Tensor weights, int vectors) {
    long g = gradient.data_ptr().address();
    long m = first.data_ptr().address();
    long v = second.data_ptr().address();
    long p = master.data_ptr().address();
    long out = weights.data_ptr().address();
    boolean mixed = isMixed(weights);
    OpenMpTeam.parallelFor(
        vectors,
        GRAIN_SIZE,
        (member, from, to) -> {
          long begin = 4L * from * Lanes.WIDTH;
          long end = 4L * to * Lanes.WIDTH;
          if (mixed) {
            applyMixed(g + begin, m + begin, v + begin, p + begin, out + begin / 2, end - begin);
          } else {
            applyFloat32(g, m, v, p, begin, end);
          }
        });
  }

  private static boolean isMixed(Tensor weights) {
    return Tensors.scalarType(weights) == ScalarType.BFloat16;
  }

  private void applyMixed(long g, long m, long v, long p, long out, long bytes) {
    for (long i = 0; i < bytes; i += 4L * Lanes.WIDTH) {
      Lanes.store(update(g + i, m + i, v + i, p + i), out + i / 2);
    }
  }

  private void applyFloat32(long g, long m, long v, long p, long begin, long end) {
    for (long i = begin; i < end; i += 4L * Lanes.WIDTH) {
      update(g + i, m + i, v + i, p + i);
    }
  }

  private FloatVector update(long g, long m, long v, long p) {
    FloatVector gradient = Lanes.loadFloats(g);
    FloatVector first = Lanes.loadFloats(m).mul((float) beta1).add(gradient.mul((float) firstGain));
    FloatVector second =
        Lanes.loadFloats(v).mul((float) beta2).add(gradient.mul(gradient).mul((float) secondGain));
    FloatVector root = second.lanewise(VectorOperators.SQRT).add((float) epsilon);
    FloatVector updated =
        Lanes.loadFloats(p).mul((float) decay).sub(first.mul((float) rate).div(root));
    Lanes.storeFloats(first, m);
    Lanes.storeFloats(second, v);
    Lanes.storeFloats(updated, p);
    return updated;
  }
}
