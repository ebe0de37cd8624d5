package org.eellm.kernel.product;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.Random;
import java.util.function.DoubleUnaryOperator;
import org.eellm.kernel.NativeFloats;
import org.eellm.kernel.RandomMatrix;
import org.eellm.kernel.weight.PackedMatrix;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

@Tag("vectors")
final class RowArithmeticTest {
  private static final int BLOCK = PackedMatrix.BLOCK;

  @Test
  void swiGlu_blockOfNumbers_agreesWithFloat64() {
    float[] gate = spread();
    float[] up = RandomMatrix.rows(1, BLOCK, new Random(1))[0];
    float[] out = new float[BLOCK];
    try (NativeFloats x = NativeFloats.of(gate);
        NativeFloats y = NativeFloats.of(up)) {
      RowArithmetic.swiGlu(x.address(), y.address(), out);
    }
    for (int i = 0; i < BLOCK; i++) {
      double expected = gate[i] / (1 + Math.exp(-gate[i])) * up[i];
      assertThat((double) out[i]).isCloseTo(expected, within(1e-6 * Math.abs(expected) + 1e-30));
    }
  }

  @Test
  void gelu_blockOfNumbers_agreesWithFloat64() {
    float[] out = new float[BLOCK];
    try (NativeFloats x = NativeFloats.of(spread())) {
      RowArithmetic.gelu(x.address(), out);
    }
    assertFunction(out, x -> x / 2 * (1 + erf(x / Math.sqrt(2))), 4e-7);
  }

  @Test
  void geluTanh_blockOfNumbers_agreesWithFloat64() {
    float[] out = new float[BLOCK];
    try (NativeFloats x = NativeFloats.of(spread())) {
      RowArithmetic.geluTanh(x.address(), out);
    }
    assertFunction(
        out,
        x -> x / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))),
        4e-7);
  }

  @Test
  void activations_nan_stayNan() {
    float[] x = spread();
    x[5] = Float.NaN;
    float[] ones = new float[BLOCK];
    Arrays.fill(ones, 1);
    float[] out = new float[BLOCK];
    try (NativeFloats memory = NativeFloats.of(x);
        NativeFloats up = NativeFloats.of(ones)) {
      RowArithmetic.gelu(memory.address(), out);
      assertOnlyNan(out);
      RowArithmetic.geluTanh(memory.address(), out);
      assertOnlyNan(out);
      RowArithmetic.swiGlu(memory.address(), up.address(), out);
      assertOnlyNan(out);
    }
  }

  @Test
  void add_anyCount_addsThatManyOnly() {
    for (int count = 0; count <= 70; count++) {
      float[] x = RandomMatrix.rows(1, 72, new Random(2))[0];
      float[] y = RandomMatrix.rows(1, 72, new Random(3))[0];
      float[] expected = y.clone();
      for (int i = 0; i < count; i++) {
        expected[i] = y[i] + x[i];
      }
      try (NativeFloats from = NativeFloats.of(x);
          NativeFloats to = NativeFloats.of(y)) {
        RowArithmetic.add(from.address(), to.address(), count);
        assertThat(to.read()).isEqualTo(expected);
      }
    }
  }

  @Test
  void add_partOfAnArray_addsThatManyOnly() {
    for (int count = 0; count <= 70; count++) {
      float[] x = RandomMatrix.rows(1, 75, new Random(2))[0];
      float[] y = RandomMatrix.rows(1, 72, new Random(3))[0];
      float[] expected = y.clone();
      for (int i = 0; i < count; i++) {
        expected[i] = y[i] + x[i + 3];
      }
      try (NativeFloats to = NativeFloats.of(y)) {
        RowArithmetic.add(x, 3, to.address(), count);
        assertThat(to.read()).isEqualTo(expected);
      }
    }
  }

  private static void assertOnlyNan(float[] out) {
    for (int i = 0; i < BLOCK; i++) {
      assertThat(Float.isNaN(out[i])).as("number %d", i).isEqualTo(i == 5);
    }
  }

  /** Numbers from far below 0 to far above, closer together about 0. */
  private static float[] spread() {
    float[] numbers = new float[BLOCK];
    for (int i = 0; i < BLOCK; i++) {
      double x = (i - 31) / 8.0;
      numbers[i] = (float) (x * x * x / 2);
    }
    return numbers;
  }

  /** Errors are relative to the argument, by which these functions multiply. */
  private static void assertFunction(float[] out, DoubleUnaryOperator function, double error) {
    float[] x = spread();
    for (int i = 0; i < BLOCK; i++) {
      assertThat((double) out[i])
          .as("of %s", x[i])
          .isCloseTo(function.applyAsDouble(x[i]), within(error * Math.abs(x[i])));
    }
  }

  /** By Simpson's rule. */
  private static double erf(double x) {
    double end = Math.clamp(x, -6, 6);
    int intervals = 2000;
    double step = end / intervals;
    double sum = 1 + Math.exp(-end * end);
    for (int i = 1; i < intervals; i++) {
      double t = i * step;
      sum += (i % 2 == 1 ? 4 : 2) * Math.exp(-t * t);
    }
    return 2 / Math.sqrt(Math.PI) * sum * step / 3;
  }
}
