package org.eellm.kernel.vector;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Random;
import java.util.stream.IntStream;
import org.eellm.kernel.NativeFloats;
import org.eellm.kernel.RandomMatrix;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

@Tag("vectors")
final class Bfloat16RoundingTest {
  private static final int ROOM = 51;
  private static final float[] NUMBERS = RandomMatrix.rows(1, ROOM, new Random(1))[0];

  static IntStream counts() {
    return IntStream.rangeClosed(0, ROOM - 2);
  }

  @ParameterizedTest
  @MethodSource("counts")
  void round_anyCount_roundsThatManyOnly(int count) {
    float[] to = new float[ROOM];
    Bfloat16Rounding.round(NUMBERS, 2, count, to, 1);
    for (int i = 0; i < ROOM; i++) {
      boolean written = i >= 1 && i <= count;
      assertThat(to[i]).isEqualTo(written ? Bfloat16Rounding.rounded(NUMBERS[i + 1]) : 0);
    }
  }

  @ParameterizedTest
  @MethodSource("counts")
  void store_anyCount_storesThatManyOnly(int count) {
    try (NativeBuffer to = NativeBuffer.allocate(2 * ROOM)) {
      Bfloat16Rounding.store(NUMBERS, 2, count, to.address() + 2);
      for (int i = 0; i < ROOM; i++) {
        boolean written = i >= 1 && i <= count;
        assertThat(NativeNumbers.get(to.address() + 2L * i))
            .isEqualTo(written ? Bfloat16Rounding.rounded(NUMBERS[i + 1]) : 0);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("counts")
  void storeHalves_anyCount_clearsTheSecondHalfWithTheFirst(int count) {
    try (NativeFloats x = NativeFloats.of(NUMBERS);
        NativeBuffer to = NativeBuffer.allocate(4 * ROOM)) {
      for (int i = 0; i < 2 * ROOM; i++) {
        NativeNumbers.put(Float.NaN, to.address() + 2L * i);
      }
      Bfloat16Rounding.storeHalves(x.address(), count, 0, to.address());
      for (int i = 0; i < ROOM; i++) {
        Float expected = i < count ? Bfloat16Rounding.rounded(NUMBERS[i]) : Float.NaN;
        assertThat(NativeNumbers.get(to.address() + 4L * i)).isEqualTo(expected);
        Float second = i < count ? 0 : Float.NaN;
        assertThat(NativeNumbers.get(to.address() + 4L * i + 2)).isEqualTo(second);
      }
      Bfloat16Rounding.storeHalves(x.address() + 4, count, 1, to.address());
      for (int i = 0; i < count; i++) {
        assertThat(NativeNumbers.get(to.address() + 4L * i))
            .isEqualTo(Bfloat16Rounding.rounded(NUMBERS[i]));
        assertThat(NativeNumbers.get(to.address() + 4L * i + 2))
            .isEqualTo(Bfloat16Rounding.rounded(NUMBERS[i + 1]));
      }
    }
  }
}
