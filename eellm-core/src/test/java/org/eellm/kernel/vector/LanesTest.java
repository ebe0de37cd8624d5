package org.eellm.kernel.vector;

import static org.assertj.core.api.Assertions.assertThat;

import java.math.BigDecimal;
import java.util.Random;
import jdk.incubator.vector.FloatVector;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("vectors")
final class LanesTest {
  @ParameterizedTest
  @CsvSource({
    "0x1.00p0, 0x1.00p0",
    "0x1.01p0, 0x1.00p0", // a tie: the even one is below
    "0x1.03p0, 0x1.04p0", // and here above
    "0x1.010002p0, 0x1.02p0",
    "0x1.00fffep0, 0x1.00p0",
    "-0x1.01p0, -0x1.00p0",
    "-0x1.03p0, -0x1.04p0",
    "0x1.ffp0, 0x1.0p1",
    "0x1.fffffep127, Infinity",
    "0x1.fep127, 0x1.fep127",
    "Infinity, Infinity",
    "-Infinity, -Infinity",
    "0x0p0, 0x0p0",
    "-0x0p0, -0x0p0",
    "0x1.8p-133, 0x1.0p-132" // subnormal numbers are 2^-133 apart
  })
  void rounding_specialNumbers_isToNearestEven(float x, float expected) {
    assertThat(scalar(x)).isEqualTo(expected);
    assertThat(stored(x)).isEqualTo(expected);
  }

  @ParameterizedTest
  @ValueSource(ints = {0x7FC00000, 0xFFC00000})
  void rounding_nanOfEitherSign_staysNan(int bits) {
    float nan = Float.intBitsToFloat(bits);
    assertThat(scalar(nan)).isNaN();
    assertThat(stored(nan)).isNaN();
  }

  @Test
  void rounding_anyNumber_isTheNearest() {
    Random random = new Random(1);
    for (int i = 0; i < 10_000; i++) {
      float x = Float.intBitsToFloat(random.nextInt());
      if (Math.abs(x) > 0x1.fep127 || Float.isNaN(x)) {
        continue;
      }
      float rounded = scalar(x);
      assertThat(Float.floatToRawIntBits(rounded) & 0xFFFF).isZero();
      assertThat(stored(x)).isEqualTo(rounded);
      BigDecimal distance = distance(x, rounded);
      int bits = Float.floatToRawIntBits(rounded);
      for (int other : new int[] {bits - 0x10000, bits + 0x10000}) {
        float neighbor = Float.intBitsToFloat(other);
        if (Float.isFinite(neighbor)) {
          assertThat(distance).as("%s", x).isLessThanOrEqualTo(distance(x, neighbor));
        }
      }
    }
  }

  @Test
  void load_bfloat16Numbers_widensThem() {
    int count = Lanes.WIDTH;
    try (NativeBuffer memory = NativeBuffer.allocate(2L * count)) {
      for (int i = 0; i < count; i++) {
        NativeNumbers.put(i - 5, memory.address() + 2L * i);
      }
      for (int i = 0; i < Lanes.WIDTH; i++) {
        assertThat(Lanes.load(memory.address()).lane(i)).isEqualTo(i - 5);
      }
    }
  }

  @Test
  void sum_anyNumbers_addsAllLanes() {
    float[] numbers = new float[Lanes.WIDTH];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = 1 << i;
    }
    assertThat(Lanes.sum(FloatVector.fromArray(Lanes.FLOATS, numbers, 0)))
        .isEqualTo((1 << Lanes.WIDTH) - 1);
  }

  private static float scalar(float x) {
    return Float.intBitsToFloat(NativeNumbers.bfloat16(x) << 16);
  }

  private static float stored(float x) {
    try (NativeBuffer memory = NativeBuffer.allocate(2L * Lanes.WIDTH)) {
      Lanes.store(Lanes.broadcast(x), memory.address());
      return NativeNumbers.get(memory.address() + 2L * (Lanes.WIDTH - 1));
    }
  }

  private static BigDecimal distance(float a, float b) {
    return new BigDecimal(a).subtract(new BigDecimal(b)).abs();
  }
}
