package org.eellm.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Random;
import java.util.stream.IntStream;
import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeNumbers;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

@Tag("vectors")
final class NormsTest {
  private static final double EPSILON = 1e-5;

  static IntStream widths() {
    return IntStream.concat(
        IntStream.rangeClosed(1, 40), IntStream.of(48, 64, 192, 257, 320, 768, 1001));
  }

  @ParameterizedTest
  @MethodSource("widths")
  void rms_anyWidth_agreesWithFloat64(int width) {
    float[] x = random(width, 1);
    float[] weight = random(width, 2);
    double[] expected = rms(x, weight);
    FloatArray out = FloatArray.allocate(width);
    try (NativeFloats memory = NativeFloats.of(x)) {
      Norms.rms(memory.address(), FloatArray.of(weight), EPSILON, out);
    }
    assertClose(out.values(), expected);
  }

  static IntStream wholeVectors() {
    return widths().filter(width -> width % NativeNumbers.WIDTH == 0);
  }

  @ParameterizedTest
  @MethodSource("wholeVectors")
  void rms_anyKernel_isTheSame(int width) {
    float[] weight = random(width, 2);
    FloatArray out = FloatArray.allocate(width);
    float[] byJava = new float[width];
    try (NativeFloats memory = NativeFloats.of(random(width, 1))) {
      Norms.rms(memory.address(), FloatArray.of(weight), EPSILON, out);
      RowKernel.java().rms(memory.address(), FloatArray.of(weight), EPSILON, FloatArray.of(byJava));
    }
    assertThat(out.values()).isEqualTo(byJava);
  }

  @ParameterizedTest
  @MethodSource("widths")
  void layer_anyWidth_agreesWithFloat64(int width) {
    float[] x = random(width, 1);
    float[] weight = random(width, 2);
    float[] bias = random(width, 3);
    double mean = IntStream.range(0, width).mapToDouble(i -> x[i]).average().orElseThrow();
    double variance =
        IntStream.range(0, width)
            .mapToDouble(i -> (x[i] - mean) * (x[i] - mean))
            .average()
            .orElseThrow();
    double[] expected = new double[width];
    for (int i = 0; i < width; i++) {
      expected[i] = (x[i] - mean) / Math.sqrt(variance + EPSILON) * weight[i] + bias[i];
    }
    FloatArray out = FloatArray.allocate(width);
    try (NativeFloats memory = NativeFloats.of(x)) {
      Norms.layer(memory.address(), FloatArray.of(weight), FloatArray.of(bias), EPSILON, out);
    }
    assertClose(out.values(), expected);
  }

  @ParameterizedTest
  @MethodSource("wholeVectors")
  void layer_anyKernel_isTheSame(int width) {
    float[] weight = random(width, 2);
    float[] bias = random(width, 3);
    FloatArray out = FloatArray.allocate(width);
    float[] byJava = new float[width];
    try (NativeFloats memory = NativeFloats.of(random(width, 1))) {
      Norms.layer(memory.address(), FloatArray.of(weight), FloatArray.of(bias), EPSILON, out);
      RowKernel.java()
          .layer(
              memory.address(),
              FloatArray.of(weight),
              FloatArray.of(bias),
              EPSILON,
              FloatArray.of(byJava));
    }
    assertThat(out.values()).isEqualTo(byJava);
  }

  private static double[] rms(float[] x, float[] weight) {
    double mean =
        IntStream.range(0, x.length).mapToDouble(i -> (double) x[i] * x[i]).average().orElseThrow();
    double[] expected = new double[x.length];
    for (int i = 0; i < x.length; i++) {
      expected[i] = x[i] / Math.sqrt(mean + EPSILON) * weight[i];
    }
    return expected;
  }

  private static float[] random(int width, int seed) {
    return RandomMatrix.rows(1, width, new Random(seed))[0];
  }

  private static void assertClose(float[] actual, double[] expected) {
    for (int i = 0; i < actual.length; i++) {
      assertThat((double) actual[i])
          .as("number %d of %d", i, actual.length)
          .isCloseTo(expected[i], within(3e-6));
    }
  }
}
