package org.eellm.kernel.row;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.Random;
import java.util.function.DoubleUnaryOperator;
import java.util.stream.IntStream;
import org.eellm.kernel.NativeFloats;
import org.eellm.kernel.RandomMatrix;
import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.PackedMatrix;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("vectors")
final class RowKernelTest {
  private static final RowKernel CHOSEN = RowKernel.chosen();
  private static final RowKernel JAVA = RowKernel.java();
  private static final int BLOCK = PackedMatrix.BLOCK;

  @Test
  void swiGlu_blockOfNumbers_agreesWithFloat64() {
    float[] gate = spread();
    float[] up = RandomMatrix.rows(1, BLOCK, new Random(1))[0];
    float[] out = new float[BLOCK];
    try (NativeFloats blocks = NativeFloats.of(joined(gate, up))) {
      CHOSEN.swiGlu(blocks.address(), BLOCK, FloatArray.of(out));
    }
    for (int i = 0; i < BLOCK; i++) {
      double expected = gate[i] / (1 + Math.exp(-gate[i])) * up[i];
      assertThat((double) out[i]).isCloseTo(expected, within(1e-6 * Math.abs(expected) + 1e-30));
    }
  }

  static IntStream counts() {
    return IntStream.concat(IntStream.rangeClosed(1, 67), IntStream.of(257, 320));
  }

  @ParameterizedTest
  @MethodSource("counts")
  void add_anyCount_isTheSameByJava(int count) {
    float[] x = RandomMatrix.rows(1, count, new Random(1))[0];
    float[] to = RandomMatrix.rows(1, count + 9, new Random(2))[0];
    try (NativeFloats from = NativeFloats.of(x);
        NativeFloats sum = NativeFloats.of(to);
        NativeFloats byJava = NativeFloats.of(to)) {
      CHOSEN.add(from.address(), sum.address(), count);
      JAVA.add(from.address(), byJava.address(), count);
      assertThat(sum.read()).isEqualTo(byJava.read());
    }
  }

  @ParameterizedTest
  @MethodSource("counts")
  void multiply_anyCount_multipliesThatManyOnly(int count) {
    float[] x = RandomMatrix.rows(1, count + 9, new Random(1))[0];
    float[] expected = x.clone();
    for (int i = 0; i < count; i++) {
      expected[i] = x[i] * 0.3f;
    }
    for (RowKernel kernel : new RowKernel[] {CHOSEN, JAVA}) {
      try (NativeFloats memory = NativeFloats.of(x)) {
        kernel.multiply(memory.address(), count, 0.3f);
        assertThat(memory.read()).isEqualTo(expected);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("counts")
  void softcap_anyCount_isTheSameByJavaAndNearFloat64(int count) {
    int room = Math.ceilDiv(count, NativeNumbers.WIDTH) * NativeNumbers.WIDTH;
    float[] x = RandomMatrix.rows(1, room, new Random(1))[0];
    for (int i = 0; i < room; i++) {
      x[i] *= (float) Math.pow(10, i % 6);
    }
    try (NativeFloats capped = NativeFloats.of(x);
        NativeFloats byJava = NativeFloats.of(x)) {
      CHOSEN.softcap(capped.address(), count, 30);
      JAVA.softcap(byJava.address(), count, 30);
      assertThat(Arrays.copyOf(capped.read(), count))
          .isEqualTo(Arrays.copyOf(byJava.read(), count));
      for (int i = 0; i < count; i++) {
        assertThat((double) capped.read()[i])
            .as("of %s", x[i])
            .isCloseTo(30 * Math.tanh(x[i] / 30.0), within(30 * 2e-7));
      }
    }
  }

  @Test
  void softcap_nanAndInfinity_stayNanAndBecomeTheCap() {
    float[] x = spread();
    x[0] = Float.NaN;
    x[1] = Float.NEGATIVE_INFINITY;
    x[2] = Float.POSITIVE_INFINITY;
    for (RowKernel kernel : new RowKernel[] {CHOSEN, JAVA}) {
      try (NativeFloats memory = NativeFloats.of(x)) {
        kernel.softcap(memory.address(), BLOCK, 50);
        assertThat(Arrays.copyOf(memory.read(), 3)).containsExactly(Float.NaN, -50, 50);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("counts")
  void dot_anyCount_isTheSameByJavaAndNearFloat64(int count) {
    float[] x = RandomMatrix.rows(1, count, new Random(1))[0];
    float[] y = RandomMatrix.rows(1, count, new Random(2))[0];
    double expected = IntStream.range(0, count).mapToDouble(i -> (double) x[i] * y[i]).sum();
    try (NativeFloats memory = NativeFloats.of(x)) {
      float product = FloatArithmetic.dot(memory.address(), FloatArray.of(y), count);
      int whole = count - count % NativeNumbers.WIDTH;
      assertThat(FloatArithmetic.dot(memory.address(), FloatArray.of(y), whole))
          .isEqualTo(JAVA.product(memory.address(), FloatArray.of(y), whole));
      assertThat((double) product).isCloseTo(expected, within(1e-5));
    }
  }

  @ParameterizedTest
  @MethodSource("counts")
  void productWithBfloat16_anyCount_isThatOfTheDefinition(int count) {
    float[] x = RandomMatrix.rows(1, count, new Random(1))[0];
    float[] y = RandomMatrix.rows(1, count, new Random(2))[0];
    double sum = 0;
    for (int i = 0; i < count; i++) {
      sum += (double) x[i] * Float.intBitsToFloat(NativeNumbers.bfloat16(y[i]) << 16);
    }
    try (NativeFloats first = NativeFloats.of(x);
        NativeFloats second = NativeFloats.of(y)) {
      CHOSEN.store(FloatArray.of(y), 0, count, Short.BYTES, second.address());
      float product = FloatArithmetic.productWithBfloat16(first.address(), second.address(), count);
      assertThat(product).isCloseTo((float) sum, within(1e-4f));
    }
  }

  @ParameterizedTest
  @MethodSource("counts")
  void store_anyCount_isTheSameByJava(int count) {
    float[] x = RandomMatrix.rows(1, count + 5, new Random(1))[0];
    x[4] = Float.NaN;
    float[] before = RandomMatrix.rows(1, count + 9, new Random(2))[0];
    try (NativeFloats to = NativeFloats.of(before);
        NativeFloats byJava = NativeFloats.of(before)) {
      CHOSEN.store(FloatArray.of(x), 3, count, Short.BYTES, to.address());
      JAVA.store(FloatArray.of(x), 3, count, Short.BYTES, byJava.address());
      assertThat(to.read()).isEqualTo(byJava.read());
    }
  }

  @ParameterizedTest
  @MethodSource("counts")
  void store_inFloat32_isTheNearestInBfloat16(int count) {
    float[] x = RandomMatrix.rows(1, count + 5, new Random(1))[0];
    x[4] = Float.NaN;
    float[] expected = RandomMatrix.rows(1, count + 9, new Random(2))[0];
    try (NativeFloats in = NativeFloats.of(x);
        NativeFloats ofArray = NativeFloats.of(expected);
        NativeFloats ofMemory = NativeFloats.of(expected);
        NativeFloats byJava = NativeFloats.of(expected)) {
      CHOSEN.store(FloatArray.of(x), 3, count, Float.BYTES, ofArray.address());
      CHOSEN.store(in.address() + 3 * Float.BYTES, count, Float.BYTES, ofMemory.address());
      JAVA.store(FloatArray.of(x), 3, count, Float.BYTES, byJava.address());
      for (int i = 0; i < count; i++) {
        expected[i] = Float.intBitsToFloat(NativeNumbers.bfloat16(x[3 + i]) << Short.SIZE);
      }
      assertThat(ofArray.read()).isEqualTo(expected);
      assertThat(ofMemory.read()).isEqualTo(expected);
      assertThat(byJava.read()).isEqualTo(expected);
    }
  }

  @ParameterizedTest
  @MethodSource("counts")
  void add_ofArray_isTheSameByJava(int count) {
    float[] x = RandomMatrix.rows(1, count + 5, new Random(1))[0];
    float[] to = RandomMatrix.rows(1, count + 9, new Random(2))[0];
    try (NativeFloats sum = NativeFloats.of(to);
        NativeFloats byJava = NativeFloats.of(to)) {
      CHOSEN.add(FloatArray.of(x), 3, sum.address(), count);
      JAVA.add(FloatArray.of(x), 3, byJava.address(), count);
      assertThat(sum.read()).isEqualTo(byJava.read());
    }
  }

  @Test
  void gelu_numbersOfAnySize_isTheSameByJava() {
    float[] numbers = spread();
    numbers[3] = -200;
    numbers[4] = 200;
    numbers[5] = Float.NaN;
    numbers[6] = Float.NEGATIVE_INFINITY;
    numbers[7] = -0f;
    FloatArray out = FloatArray.allocate(BLOCK);
    float[] byJava = new float[BLOCK];
    try (NativeFloats x = NativeFloats.of(numbers)) {
      CHOSEN.gelu(x.address(), BLOCK, out);
      JAVA.gelu(x.address(), BLOCK, FloatArray.of(byJava));
      assertThat(out.values()).isEqualTo(byJava);
      CHOSEN.geluTanh(x.address(), BLOCK, out);
      JAVA.geluTanh(x.address(), BLOCK, FloatArray.of(byJava));
      assertThat(out.values()).isEqualTo(byJava);
    }
  }

  @Test
  void swiGlu_numbersOfAnySize_isTheSameByJava() {
    float[] gate = spread();
    gate[3] = -200;
    gate[4] = 200;
    gate[5] = Float.NaN;
    gate[6] = Float.POSITIVE_INFINITY;
    gate[7] = -0f;
    float[] up = RandomMatrix.rows(1, BLOCK, new Random(1))[0];
    float[] out = new float[BLOCK];
    float[] byJava = new float[BLOCK];
    try (NativeFloats blocks = NativeFloats.of(joined(gate, up))) {
      CHOSEN.swiGlu(blocks.address(), BLOCK, FloatArray.of(out));
      JAVA.swiGlu(blocks.address(), BLOCK, FloatArray.of(byJava));
    }
    assertThat(out).isEqualTo(byJava);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 16, 40, BLOCK, BLOCK + 1, 3 * BLOCK - 5})
  void geGluTanh_severalBlocks_isGeluTanhTimesTheOtherBlocksByBothKernels(int count) {
    float[] numbers = RandomMatrix.rows(1, 6 * BLOCK, new Random(1))[0];
    System.arraycopy(spread(), 0, numbers, 0, BLOCK);
    numbers[3] = Float.NaN;
    FloatArray gelu = FloatArray.allocate(BLOCK);
    FloatArray ours = FloatArray.allocate(3 * BLOCK);
    FloatArray byJava = FloatArray.allocate(3 * BLOCK);
    try (NativeFloats x = NativeFloats.of(numbers)) {
      CHOSEN.geGluTanh(x.address(), count, ours);
      JAVA.geGluTanh(x.address(), count, byJava);
      for (int i = 0; i < count; i++) {
        int gate = i / BLOCK * 2 * BLOCK;
        CHOSEN.geluTanh(x.address() + 4L * gate, BLOCK, gelu);
        Float expected = gelu.values()[i % BLOCK] * numbers[gate + BLOCK + i % BLOCK];
        assertThat(ours.values()[i]).isEqualTo(expected);
        assertThat(byJava.values()[i]).isEqualTo(expected);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 16, 40, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK - 5, 3 * BLOCK})
  void activations_severalBlocks_areTheSameAsBlockByBlock(int count) {
    float[] numbers = RandomMatrix.rows(1, 6 * BLOCK, new Random(1))[0];
    FloatArray swiGlu = FloatArray.allocate(3 * BLOCK);
    FloatArray gelu = FloatArray.allocate(3 * BLOCK);
    FloatArray geluTanh = FloatArray.allocate(3 * BLOCK);
    FloatArray ofBlock = FloatArray.allocate(BLOCK);
    try (NativeFloats x = NativeFloats.of(numbers)) {
      CHOSEN.swiGlu(x.address(), count, swiGlu);
      CHOSEN.gelu(x.address(), count, gelu);
      CHOSEN.geluTanh(x.address(), count, geluTanh);
      for (int block = 0; block < Math.ceilDiv(count, BLOCK); block++) {
        int from = block * BLOCK;
        int of = Math.min(BLOCK, count - from);
        CHOSEN.swiGlu(x.address() + 8L * from, BLOCK, ofBlock);
        assertEqual(swiGlu, from, ofBlock, of);
        CHOSEN.gelu(x.address() + 4L * from, BLOCK, ofBlock);
        assertEqual(gelu, from, ofBlock, of);
        CHOSEN.geluTanh(x.address() + 4L * from, BLOCK, ofBlock);
        assertEqual(geluTanh, from, ofBlock, of);
      }
    }
  }

  private static void assertEqual(FloatArray actual, int from, FloatArray expected, int count) {
    assertThat(Arrays.copyOfRange(actual.values(), from, from + count))
        .isEqualTo(Arrays.copyOf(expected.values(), count));
  }

  private static float[] joined(float[] gate, float[] up) {
    float[] both = Arrays.copyOf(gate, gate.length + up.length);
    System.arraycopy(up, 0, both, gate.length, up.length);
    return both;
  }

  @Test
  void gelu_blockOfNumbers_agreesWithFloat64() {
    FloatArray out = FloatArray.allocate(BLOCK);
    try (NativeFloats x = NativeFloats.of(spread())) {
      CHOSEN.gelu(x.address(), BLOCK, out);
    }
    assertFunction(out.values(), x -> x / 2 * (1 + erf(x / Math.sqrt(2))), 4e-7);
  }

  @Test
  void geluTanh_blockOfNumbers_agreesWithFloat64() {
    FloatArray out = FloatArray.allocate(BLOCK);
    try (NativeFloats x = NativeFloats.of(spread())) {
      CHOSEN.geluTanh(x.address(), BLOCK, out);
    }
    assertFunction(
        out.values(),
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
    try (NativeFloats memory = NativeFloats.of(joined(x, ones))) {
      CHOSEN.gelu(memory.address(), BLOCK, FloatArray.of(out));
      assertOnlyNan(out);
      CHOSEN.geluTanh(memory.address(), BLOCK, FloatArray.of(out));
      assertOnlyNan(out);
      CHOSEN.swiGlu(memory.address(), BLOCK, FloatArray.of(out));
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
        CHOSEN.add(from.address(), to.address(), count);
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
        CHOSEN.add(FloatArray.of(x), 3, to.address(), count);
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
