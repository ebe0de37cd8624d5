package org.eellm.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Random;
import java.util.stream.IntStream;
import org.eellm.kernel.row.RowKernel;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

@Tag("vectors")
final class LogitArithmeticTest {

  static IntStream counts() {
    return IntStream.concat(IntStream.rangeClosed(1, 40), IntStream.of(128, 300, 4096));
  }

  @ParameterizedTest
  @MethodSource("counts")
  void max_anyCount_isTheLargestAndItsFirstPlace(int count) {
    float[] logits = logits(count);
    int best = 0;
    for (int i = 1; i < count; i++) {
      best = logits[i] > logits[best] ? i : best;
    }
    try (NativeFloats row = NativeFloats.of(logits)) {
      float max = LogitArithmetic.max(row.address(), count);
      assertThat(max).isEqualTo(logits[best]);
      assertThat(LogitArithmetic.place(max, row.address(), count)).isEqualTo(best);
    }
  }

  @ParameterizedTest
  @MethodSource("counts")
  void max_nanAnywhere_isNanAndHasNoPlace(int count) {
    for (int at : new int[] {0, count / 2, count - 1}) {
      float[] logits = logits(count);
      logits[at] = Float.NaN;
      try (NativeFloats row = NativeFloats.of(logits)) {
        assertThat(LogitArithmetic.max(row.address(), count)).isNaN();
        assertThat(LogitArithmetic.place(Float.NaN, row.address(), count)).isZero();
      }
    }
  }

  @ParameterizedTest
  @MethodSource("counts")
  void sumOfExponentials_anyCount_agreesWithFloat64AndIsTheSameByJava(int count) {
    float[] logits = logits(count);
    logits[count / 2] = -1000;
    float factor = 0.7f;
    try (NativeFloats row = NativeFloats.of(logits)) {
      float max = LogitArithmetic.max(row.address(), count);
      double expected = 0;
      for (float logit : logits) {
        expected += Math.exp((logit - max) * factor);
      }
      float sum = LogitArithmetic.sumOfExponentials(row.address(), count, max, factor);
      assertThat((double) sum).isCloseTo(expected, within(1e-5 * expected));
      if (count % 64 == 0) { // whole vectors, whatever their width
        RowKernel java = RowKernel.java();
        assertThat(java.max(row.address(), count)).isEqualTo(max);
        assertThat(java.place(max, row.address(), count))
            .isEqualTo(LogitArithmetic.place(max, row.address(), count));
        assertThat(java.place(1000, row.address(), count)).isEqualTo(-1);
        assertThat(java.sumOfExponentials(row.address(), count, max, factor)).isEqualTo(sum);
      }
    }
  }

  private static float[] logits(int count) {
    Random random = new Random(count);
    float[] logits = new float[count];
    for (int i = 0; i < count; i++) {
      logits[i] = Math.round(random.nextGaussian() * 8) / 2f; // so that some are equal
    }
    return logits;
  }
}
