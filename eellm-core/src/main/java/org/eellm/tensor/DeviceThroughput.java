package org.eellm.tensor;

import java.util.Optional;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * The best rates of this machine, measured: the yardsticks that training and generation are held
 * against.
 */
public final class DeviceThroughput {
  /**
   * A product to measure with.
   *
   * @param rows the tokens of a small step
   * @param atOnce how many are asked for before the first is waited for
   */
  record Product(long rows, long width, int atOnce) {
    /** A CPU's: no smaller one is faster. */
    static final Product CPU = new Product(1024, 2048, 1);

    /** A GPU's, so large that it never waits for a launch. */
    static final Product GPU = new Product(8192, 8192, 8);

    double operations() {
      return 2.0 * rows * width * width * atOnce;
    }
  }

  private static final long MEMORY_BYTES = 256L << 20;

  /**
   * A device's rates.
   *
   * @param float32 matrix products in FLOP/s
   * @param bfloat16 matrix products in FLOP/s
   * @param memory reading in bytes/s
   */
  public record Measured(double float32, double bfloat16, double memory) {}

  private DeviceThroughput() {}

  /**
   * What to say of a run in bfloat16 on a processor; empty where it is the faster format there.
   *
   * @param bfloat16 rate of products in FLOP/s
   * @param float32 likewise
   */
  public static Optional<String> slowBfloat16(double bfloat16, double float32) {
    return bfloat16 > float32
        ? Optional.empty()
        : Optional.of(
            "this processor multiplies bfloat16 at %.0f GFLOP/s and float32 at %.0f: a run with model.dtype=float32 is faster"
                .formatted(bfloat16 / 1e9, float32 / 1e9));
  }

  /**
   * Matrix-product rate in FLOP/s with the calling thread's thread count: the best of repeated
   * products {@code [rows, width] x [width, width]}, of which the first is not counted, unless it
   * alone takes a CPU all the time.
   *
   * @param seconds how long to measure
   */
  public static double gemm(ScalarType type, Device device, double seconds) {
    return gemm(type, device, seconds, device.is_cpu() ? Product.CPU : Product.GPU);
  }

  static double gemm(ScalarType type, Device device, double seconds, Product measured) {
    try (Scope scope = Scope.open()) {
      Tensor left = torch.randn(measured.rows(), measured.width()).to(device, type);
      Tensor right = torch.randn(measured.width(), measured.width()).to(device, type);
      Tensor product = Tensors.empty(type, device, measured.rows(), measured.width());
      Tensor transposed = right.t();
      double first = best(0, device, () -> torch.mm_out(product, left, transposed));
      if (device.is_cpu() && first > seconds) {
        return measured.operations() / measured.atOnce() / first;
      }
      double best =
          best(
              seconds,
              device,
              () -> {
                for (int i = 0; i < measured.atOnce(); i++) {
                  torch.mm_out(product, left, transposed);
                }
              });
      return measured.operations() / best;
    }
  }

  /**
   * Memory read rate in bytes/s with the calling thread's thread count: the best of repeated sums
   * over 256 MiB of float32.
   *
   * @param seconds how long to measure
   */
  public static double memory(Device device, double seconds) {
    try (Scope scope = Scope.open()) {
      Tensor values = torch.randn(MEMORY_BYTES / 4).to(device, ScalarType.Float);
      double best = best(seconds, device, values::sum);
      return MEMORY_BYTES / best;
    }
  }

  /**
   * All rates of the CPU, with the calling thread's thread count.
   *
   * @param seconds how long to measure each
   */
  public static Measured ofCpu(double seconds) {
    return measure(Torch.cpu(), seconds);
  }

  /** All rates of the first CUDA device; a {@link TensorException} where none can be used. */
  public static Measured ofCuda(double seconds) {
    return measure(Torch.cuda(), seconds);
  }

  private static Measured measure(Device device, double seconds) {
    return new Measured(
        gemm(ScalarType.Float, device, seconds),
        gemm(ScalarType.BFloat16, device, seconds),
        memory(device, seconds));
  }

  private static double best(double seconds, Device device, Runnable work) {
    double best = Double.MAX_VALUE;
    long end = System.nanoTime() + (long) (seconds * 1e9);
    do {
      long start = System.nanoTime();
      try (Scope scope = Scope.open()) {
        work.run();
        Torch.synchronize(device);
      }
      best = Math.min(best, (System.nanoTime() - start) / 1e9);
    } while (System.nanoTime() < end);
    return best;
  }
}
