package org.eellm.tensor.kernel;

import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import org.bytedeco.pytorch.Tensor;
import org.eellm.kernel.vector.Lanes;

/** Rotates heads by their positions from one layout to another, in one pass. */
public final class HeadRotation {
  private HeadRotation() {}

  /** Whether the kernel takes {@code x} and {@code out}, [..., s, D], strided but for D. */
  public static boolean fits(Tensor x, Tensor out) {
    return TensorKernels.reach(x)
        && x.size(-1) / 2 % Lanes.WIDTH == 0
        && x.stride(-1) == 1
        && out.stride(-1) == 1;
  }

  /**
   * Writes {@code x}, [..., s, D], rotated into {@code out} of the same shape: elements j and j +
   * D/2 are a pair.
   *
   * @param cos contiguous, [s, D/2]
   * @param sin contiguous, [s, D/2]
   */
  public static void rotate(Tensor x, Tensor cos, Tensor sin, Tensor out) {
    long[] from = starts(x);
    long[] to = starts(out);
    long cosines = cos.data_ptr().address();
    long sines = sin.data_ptr().address();
    int sequence = Math.toIntExact(x.size(-2));
    long half = x.size(-1); // bytes
    Halves halves = new Halves(half);
    long stepFrom = 2 * x.stride(-2);
    long stepTo = 2 * out.stride(-2);
    OpenMpTeam.parallelFor(
        from.length,
        1,
        (member, begin, end) -> {
          for (int i = begin; i < end; i++) {
            for (int s = 0; s < sequence; s++) {
              long first = from[i] + s * stepFrom;
              long result = to[i] + s * stepTo;
              for (int second = 0; second < 2; second++) {
                halves.combine(
                    first + second * half,
                    cosines + s * half,
                    first + half - second * half,
                    sines + s * half,
                    2 * second - 1,
                    result + second * half);
              }
            }
          }
        });
  }

  private record Halves(long bytes) {

    /** Writes a c + sign b d. */
    void combine(long a, long c, long b, long d, float sign, long out) {
      for (long i = 0; i < bytes; i += 2 * Lanes.WIDTH) {
        FloatVector product = Lanes.load(b + i).mul(Lanes.load(d + i)).mul(sign);
        Lanes.store(Lanes.load(a + i).mul(Lanes.load(c + i)).add(product), out + i);
      }
    }
  }

  /** Addresses of the sequences of x, [..., s, D], in row-major order. */
  private static long[] starts(Tensor x) {
    long[] starts = {x.data_ptr().address()};
    for (long dimension = 0; dimension < x.dim() - 2; dimension++) {
      int size = Math.toIntExact(x.size(dimension));
      long stride = 2 * x.stride(dimension);
      long[] outer = starts;
      long[] all = new long[outer.length * size];
      Arrays.setAll(all, i -> outer[i / size] + i % size * stride);
      starts = all;
    }
    return starts;
  }
}
