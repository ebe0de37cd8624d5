package org.eellm.decode.engine;

import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.kernel.Lanes;
import org.eellm.kernel.WeightFormat;
import org.eellm.model.Weight;
import org.eellm.tensor.Tensors;

/** Reads parameters where they lie, without an operation of libtorch. */
final class WeightReader {
  private WeightReader() {}

  /** The format of a tensor's numbers. */
  static WeightFormat format(Tensor tensor) {
    ScalarType type = Tensors.scalarType(tensor);
    return switch (type) {
      case Float -> WeightFormat.FLOAT32;
      case BFloat16 -> WeightFormat.BFLOAT16;
      case Char -> WeightFormat.INT8;
      default -> throw new IllegalArgumentException("no kernel multiplies with " + type);
    };
  }

  /** All numbers of a tensor in one piece, as float32. */
  static float[] floats(Tensor tensor) {
    float[] values = new float[Math.toIntExact(tensor.numel())];
    read(format(tensor), tensor.data_ptr().address(), 1, values, values.length);
    return values;
  }

  /** The same of a weight; nothing of one that is not there. */
  static Optional<float[]> floats(Optional<Weight> weight) {
    return weight.map(present -> floats(present.value()));
  }

  /**
   * Reads numbers.
   *
   * @param scale what int8 numbers are multiplied with
   */
  static void read(WeightFormat format, long address, float scale, float[] to, int count) {
    for (int i = 0; i < count; i++) {
      to[i] =
          switch (format) {
            case FLOAT32 -> Lanes.getFloat(address + 4L * i);
            case BFLOAT16 -> Lanes.get(address + 2L * i);
            case INT8 -> Lanes.getByte(address + i) * scale;
          };
    }
  }
}
