package org.eellm.kernel.weight;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.Arrays;
import java.util.Random;
import org.eellm.kernel.vector.NativeBuffer;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

@Tag("vectors")
final class Int4QuantizerTest {
  private static final int IN = 160;
  private static final int GROUP = WeightFormat.INT4.group();

  @Test
  void pack_machineCode_writesWhatJavaWrites() {
    assumeTrue(Int4Code.works(), "there is no machine code here");
    Random random = new Random(1);
    float[] rows = new float[PackedMatrix.BLOCK * IN];
    for (int i = 0; i < rows.length; i++) {
      int kind = i / GROUP % 7;
      rows[i] =
          switch (kind) {
            case 0 -> 0;
            case 1 -> (float) random.nextGaussian() * 1e-9f; // scales that float16 makes 0, or none
            case 2 -> (float) random.nextGaussian() * 1e6f;
            case 3 -> i % GROUP == 5 ? Float.NaN : (float) random.nextGaussian();
            case 4 -> i % GROUP == 6 ? Float.NEGATIVE_INFINITY : (float) random.nextGaussian();
            default -> (float) random.nextGaussian() * 0.02f;
          };
    }
    for (int count : new int[] {1, 40, PackedMatrix.BLOCK}) {
      assertThat(Arrays.deepEquals(packed(rows, count, true), packed(rows, count, false)))
          .as("%d rows", count)
          .isTrue();
    }
  }

  /** All outputs; those of a group whose scale is none are NaN. */
  private static float[][] packed(float[] rows, int count, boolean machineCode) {
    WeightFormat format = WeightFormat.INT4;
    try (NativeBuffer memory =
        NativeBuffer.allocate(PackedMatrix.bytes(format, PackedMatrix.BLOCK, IN))) {
      PackedMatrix to = new PackedMatrix(format, PackedMatrix.BLOCK, IN, memory.address());
      new Int4Quantizer(to, machineCode).pack(0, rows, count);
      float[][] outputs = new float[PackedMatrix.BLOCK][IN];
      for (int o = 0; o < outputs.length; o++) {
        to.read(o, outputs[o]);
      }
      return outputs;
    }
  }
}
