package org.eellm.kernel.product;

import java.util.Random;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.Lanes;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.weight.PackedMatrix;

/**
 * A small product of random numbers, the same each time, by which ways to multiply are compared.
 */
final class KernelProbe {
  private static final int BLOCKS = 2;
  private static final int OUT = BLOCKS * PackedMatrix.BLOCK;

  private KernelProbe() {}

  /** The product of so many rows, [rows, out]. */
  static float[] of(MatmulKernel kernel, int rows) {
    // Few, since all of this is interpreted; with groups, three of them.
    int in = kernel.format().hasGroups() ? 70 : 6;
    Random random = new Random(1);
    long rowBytes = 4L * OUT;
    long bytes = PackedMatrix.bytes(kernel.format(), OUT, in);
    try (NativeBuffer weights = NativeBuffer.allocate(bytes);
        NativeBuffer y = NativeBuffer.allocate(rowBytes * (rows + MatmulKernel.ROWS_BEYOND));
        Activations x = kernel.allocate(rows, in)) {
      PackedMatrix w = new PackedMatrix(kernel.format(), OUT, in, weights.address());
      if (kernel.format().hasGroups()) {
        fillGroups(w, random);
      } else {
        for (long i = 0; i < bytes; i += Short.BYTES) {
          Lanes.put((float) random.nextGaussian(), weights.address() + i);
        }
      }
      x.begin(rows);
      FloatArray row = FloatArray.allocate(in);
      for (int r = 0; r < rows; r++) {
        for (int i = 0; i < in; i++) {
          row.values()[i] = (float) random.nextGaussian();
        }
        x.put(r, 0, row, 0, in);
      }
      kernel.multiply(w, 0, BLOCKS, x, 0, y.address(), rowBytes);
      float[] result = new float[rows * OUT];
      RowArithmetic.read(y.address(), result, 0, result.length);
      return result;
    }
  }

  private static void fillGroups(PackedMatrix w, Random random) {
    byte[] numbers = new byte[w.format().group()];
    for (int o = 0; o < w.out(); o++) {
      for (int group = 0; group < w.groups(); group++) {
        for (int i = 0; i < numbers.length; i++) {
          numbers[i] = (byte) random.nextInt(1 << w.format().bits());
        }
        short scale = Float.floatToFloat16((float) random.nextGaussian());
        w.putGroup(o, group, scale, numbers, 0);
      }
    }
  }
}
