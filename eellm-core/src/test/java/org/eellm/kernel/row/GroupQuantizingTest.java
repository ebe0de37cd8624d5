package org.eellm.kernel.row;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Random;
import org.eellm.kernel.NativeFloats;
import org.eellm.kernel.RandomMatrix;
import org.eellm.kernel.vector.FloatArray;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("vectors")
final class GroupQuantizingTest {
  private static final int GROUPS = 3;

  @ParameterizedTest
  @ValueSource(ints = {32, 64, 128, 256})
  void quantize_numbersOfAnySize_isTheSameByJava(int group) {
    float[] x = RandomMatrix.rows(1, GROUPS * group + 5, new Random(group))[0];
    for (int i = 0; i < group; i++) {
      x[2 + i] *= 1e-32f; // below what counts
      x[2 + group + i] *= 1e5f;
    }
    assertThat(stored(x, group)).isEqualTo(storedByJava(x, group));
  }

  @Test
  void quantize_nanOrInfinity_makesTheGroupsScaleNan() {
    int group = 64;
    for (float wrong : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
      float[] x = RandomMatrix.rows(1, GROUPS * group + 5, new Random(1))[0];
      x[2 + group + 7] = wrong;
      int words = group / 4 + RowKernel.MORE_UNITS;
      assertThat(stored(x, group)[2 * words - 1]).isNaN();
      assertThat(storedByJava(x, group)).isEqualTo(stored(x, group));
    }
  }

  private static float[] stored(float[] x, int group) {
    try (NativeFloats to = NativeFloats.of(new float[GROUPS * (group + RowKernel.MORE_UNITS)])) {
      RowKernel.chosen().quantize(FloatArray.of(x), 2, group, GROUPS, to.address());
      return to.read();
    }
  }

  private static float[] storedByJava(float[] x, int group) {
    try (NativeFloats to = NativeFloats.of(new float[GROUPS * (group + RowKernel.MORE_UNITS)])) {
      RowKernel.java().quantize(FloatArray.of(x), 2, group, GROUPS, to.address());
      return to.read();
    }
  }
}
