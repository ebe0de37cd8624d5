package org.eellm.kernel.row;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.Random;
import java.util.stream.IntStream;
import org.eellm.kernel.IdMarks;
import org.eellm.kernel.vector.FloatArray;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

@Tag("vectors")
final class SamplingTest {
  private static final RowKernel CHOSEN = RowKernel.chosen();
  private static final RowKernel JAVA = RowKernel.java();

  static IntStream counts() {
    return IntStream.concat(IntStream.rangeClosed(1, 40), IntStream.of(128, 300, 4096));
  }

  /** Some of them equal, one of them very low, in an array that is longer. */
  private static FloatArray logits(int count) {
    Random random = new Random(count);
    FloatArray logits = FloatArray.allocate(IdMarks.room(count) + 32);
    Arrays.fill(logits.values(), 1000);
    for (int i = 0; i < count; i++) {
      logits.values()[i] = Math.round(random.nextGaussian() * 100) / 10f;
    }
    logits.values()[count / 2] = Float.NEGATIVE_INFINITY;
    logits.values()[count / 3] = -3;
    return logits;
  }

  @ParameterizedTest
  @MethodSource("counts")
  void scale_anyCount_isTheDefinitionAndTheSameByJava(int count) {
    FloatArray x = logits(count);
    float[] before = Arrays.copyOf(x.values(), count);
    float[] byJava = before.clone();
    int best = 0;
    for (int i = 1; i < count; i++) {
      best = before[i] > before[best] ? i : best;
    }

    assertThat(CHOSEN.scale(x, count, 0.7f)).isEqualTo(best);

    assertThat(JAVA.scale(FloatArray.of(byJava), count, 0.7f)).isEqualTo(best);
    assertThat(Arrays.equals(byJava, Arrays.copyOf(x.values(), count))).isTrue();
    for (int i = 0; i < count; i++) {
      assertThat(byJava[i]).isEqualTo((before[i] - before[best]) * 0.7f);
    }
  }

  @ParameterizedTest
  @MethodSource("counts")
  void powersOfTwo_anyCount_areThoseOfTheLibraryAndTheSameByJava(int count) {
    FloatArray powers = logits(count);
    CHOSEN.scale(powers, count, 3);
    FloatArray out = FloatArray.allocate(powers.length());
    float[] byJava = new float[count];

    CHOSEN.powersOfTwo(powers, count, out);

    JAVA.powersOfTwo(powers, count, FloatArray.of(byJava));
    assertThat(Arrays.equals(byJava, Arrays.copyOf(out.values(), count))).isTrue();
    for (int i = 0; i < count; i++) {
      float expected = (float) Math.pow(2, powers.values()[i]);
      assertThat(byJava[i]).isCloseTo(expected, within(5e-6f * expected + Float.MIN_VALUE));
    }
  }
}
