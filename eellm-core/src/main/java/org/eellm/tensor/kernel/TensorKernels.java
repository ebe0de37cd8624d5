package org.eellm.tensor.kernel;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.kernel.vector.Lanes;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.tensor.Tensors;

/** Which tensors the kernels take; libtorch's operations take all others. */
public final class TensorKernels {
  private TensorKernels() {}

  /** Whether Java was started with {@code --add-modules jdk.incubator.vector}. */
  public static boolean available() {
    return NativeNumbers.HAS_VECTORS;
  }

  /** Whether {@code x} is bfloat16 on the CPU. */
  static boolean reach(Tensor x) {
    return available() && x.device().is_cpu() && Tensors.scalarType(x) == ScalarType.BFloat16;
  }

  /** Whether {@code x} is bfloat16 on the CPU, contiguous, with rows of whole vectors. */
  static boolean take(Tensor x) {
    return reach(x) && x.size(-1) % Lanes.WIDTH == 0 && x.is_contiguous();
  }
}
