package org.eellm.kernel.matmul;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.kernel.NativeFloats;
import org.eellm.kernel.RandomMatrix;
import org.eellm.kernel.vector.CpuFlags;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.WeightFormat;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

final class MatmulKernelTest {
  private static final int[] INPUTS = {1, 2, 3, 5, 33, 130, 768};
  private static final int[] OUTPUTS = {1, 7, 64, 65, 150, 400};
  private static final int MOST_ROWS = 70;

  /** For the definition; that more rows give the same as alone is another test's. */
  private static final int SOME_ROWS = 13;

  private static final int[] ROW_COUNTS =
      IntStream.concat(
              IntStream.rangeClosed(1, 20), IntStream.of(31, 32, 33, 48, 49, 64, MOST_ROWS))
          .toArray();

  static Stream<Arguments> orders() {
    return Stream.concat(
        Stream.of(WeightFormat.values()).map(format -> arguments(format, SumOrder.CHAIN)),
        Stream.of(arguments(WeightFormat.BFLOAT16, SumOrder.TILES)));
  }

  @ParameterizedTest
  @MethodSource("orders")
  void multiply_oddShapes_agreesWithFloat64(WeightFormat format, SumOrder order) {
    agreesWithFloat64(MatmulKernel.java(format, order, false));
  }

  /** By plain Java, which no vectors change. */
  @ParameterizedTest
  @MethodSource("orders")
  void multiply_anyNumberOfRows_givesEachRowAsAlone(WeightFormat format, SumOrder order) {
    MatmulKernel scalar = MatmulKernel.java(format, order, false);
    givesEachRowAsAlone(scalar, scalar);
  }

  @Tag("vectors")
  @ParameterizedTest
  @MethodSource("orders")
  void multiply_anyNumberOfRowsByVectors_givesWhatPlainJavaGives(
      WeightFormat format, SumOrder order) {
    givesEachRowAsAlone(
        MatmulKernel.java(format, order, true), MatmulKernel.java(format, order, false));
  }

  static Stream<Arguments> machineCodes() {
    return CodeTarget.candidates().stream()
        .flatMap(
            target ->
                orders()
                    .map(Arguments::get)
                    .filter(of -> target.isAvx512() || of[1] != SumOrder.TILES)
                    .filter(of -> target.isFor((WeightFormat) of[0]))
                    .map(of -> arguments(of[0], of[1], target)));
  }

  @ParameterizedTest
  @MethodSource("machineCodes")
  void multiply_machineCode_agreesWithFloat64(
      WeightFormat format, SumOrder order, CodeTarget target) {
    agreesWithFloat64(machineCode(format, order, target));
  }

  @ParameterizedTest
  @MethodSource("machineCodes")
  void multiply_machineCode_givesWhatPlainJavaGives(
      WeightFormat format, SumOrder order, CodeTarget target) {
    givesEachRowAsAlone(
        machineCode(format, order, target), MatmulKernel.java(format, order, false));
  }

  @Test
  void chosenOrder_noProperty_isThatOfTilesWhereTheyMultiply() {
    assumeTrue(System.getProperty(SumOrder.PROPERTY) == null, "another order was asked for");
    boolean hasTiles =
        DotKernels.find(WeightFormat.BFLOAT16, SumOrder.TILES)
            .filter(DotKernels::hasTiles)
            .isPresent();
    assertThat(SumOrder.chosen()).isEqualTo(hasTiles ? SumOrder.TILES : SumOrder.CHAIN);
  }

  /**
   * As long prompts come, whose later rows do not ask for weights ahead; and of numbers so tiny
   * that tiles take some sums for 0.
   */
  @ParameterizedTest
  @CsvSource({
    "64, 768, 1",
    "100, 700, 1",
    "256, 768, 1",
    "512, 768, 1",
    "40, 200, 1e-38",
    "40, 768, 1e-38"
  })
  void multiply_tiles_givesEachRowOfManyAsAlone(int count, int in, float scale) {
    MatmulKernel kernel =
        machineCode(WeightFormat.BFLOAT16, SumOrder.TILES, CodeTarget.candidates().getFirst());
    Random random = new Random(7);
    float[][] rows = RandomMatrix.rows(count, in, random);
    for (float[] row : rows) {
      for (int i = 0; i < row.length; i++) {
        row[i] *= scale;
      }
    }
    try (RandomMatrix w = new RandomMatrix(WeightFormat.BFLOAT16, 768, in, random);
        PackedInput x = kernel.allocate(count, in);
        PackedInput one = kernel.allocate(1, in)) {
      float[][] together = multiply(kernel, w.packed(), x, rows, 5);
      for (int row = 0; row < count; row++) {
        assertThat(together[row])
            .as("row %d", row)
            .isEqualTo(multiply(kernel, w.packed(), one, new float[][] {rows[row]}, 5)[0]);
      }
    }
  }

  @Test
  void multiply_inTheOrderOfTiles_addsHalvesOf32Inputs() {
    MatmulKernel kernel = MatmulKernel.java(WeightFormat.BFLOAT16, SumOrder.TILES, false);
    Random random = new Random(8);
    float[][] rows = RandomMatrix.rows(1, 70, random);
    try (RandomMatrix w = new RandomMatrix(WeightFormat.BFLOAT16, 64, 70, random);
        PackedInput x = kernel.allocate(1, 70)) {
      float[] y = multiply(kernel, w.packed(), x, rows, 1)[0];
      for (int o = 0; o < 64; o++) {
        float sum = 0;
        for (int first = 0; first < 70; first += 32) {
          float even = 0;
          float odd = 0;
          for (int i = first; i < Math.min(70, first + 32); i += 2) {
            even = Math.fma((float) w.number(o, i), RandomMatrix.toBfloat16(rows[0][i]), even);
            odd =
                Math.fma((float) w.number(o, i + 1), RandomMatrix.toBfloat16(rows[0][i + 1]), odd);
          }
          sum += even + odd;
        }
        assertThat(y[o]).isEqualTo(sum);
      }
    }
  }

  static Stream<MatmulKernel> groupedKernels() {
    return Stream.concat(
        Stream.of(MatmulKernel.java(WeightFormat.INT4)),
        CodeTarget.candidates().stream()
            .flatMap(target -> DotKernels.load(WeightFormat.INT4, target, SumOrder.CHAIN).stream())
            .map(kernels -> new MatmulKernel(WeightFormat.INT4, SumOrder.CHAIN, kernels)));
  }

  @ParameterizedTest
  @MethodSource("groupedKernels")
  void multiply_otherBitsInLikeGroups_sharesActivations(MatmulKernel kernel) {
    Random random = new Random(6);
    float[][] rows = RandomMatrix.rows(3, 70, random);
    try (RandomMatrix w = new RandomMatrix(WeightFormat.INT8, 65, 70, random);
        PackedInput x = kernel.allocate(3, 70)) {
      float[][] y = multiply(kernel, w.packed(), x, rows, 1);
      for (int row = 0; row < rows.length; row++) {
        assertRow(w, rows[row], y[row], 65, 70);
      }
    }
  }

  /** Machine code for a target, which must work where the processor has the instructions. */
  private static MatmulKernel machineCode(WeightFormat format, SumOrder order, CodeTarget target) {
    String flag =
        switch (target.vectorBits()) {
          case 128 ->
              target == CodeTarget.NEON_BF16 ? "bf16" : format.hasGroups() ? "asimddp" : "asimd";
          case 256 -> target.vnni() ? "avx_vnni" : "avx2";
          default ->
              switch (format) {
                case FLOAT32 -> "avx512f";
                case BFLOAT16 -> "avx512_bf16";
                case INT8, INT4 -> "avx512_vnni";
              };
        };
    assumeTrue(CpuFlags.all().contains(flag), "the processor has no " + flag);
    return DotKernels.load(format, target, order)
        .map(kernels -> new MatmulKernel(format, order, kernels))
        .orElseThrow();
  }

  @ParameterizedTest
  @EnumSource
  void multiply_blockByBlock_givesTheSame(WeightFormat format) {
    Random random = new Random(3);
    MatmulKernel kernel = MatmulKernel.java(format);
    try (RandomMatrix w = new RandomMatrix(format, 200, 33, random);
        PackedInput x = kernel.allocate(5, 33)) {
      for (int count = 1; count <= 5; count++) {
        float[][] rows = RandomMatrix.rows(count, 33, random);
        assertThat(multiply(kernel, w.packed(), x, rows, 1))
            .isDeepEqualTo(multiply(kernel, w.packed(), x, rows, 4));
      }
    }
  }

  @Tag("vectors")
  @ParameterizedTest
  @EnumSource
  void multiply_moreBlocksThanACallReads_givesTheSame(WeightFormat format) {
    int in = 3000;
    Random random = new Random(3);
    MatmulKernel kernel = MatmulKernel.fastest(format);
    try (RandomMatrix w = new RandomMatrix(format, 1500, in, random);
        PackedInput x = kernel.allocate(3, in)) {
      int blocks = w.packed().blocks();
      assertThat(w.packed().blocksOfCall()).isBetween(1, blocks - 1);
      for (int count = 1; count <= 3; count++) {
        float[][] rows = RandomMatrix.rows(count, in, random);
        assertThat(multiply(kernel, w.packed(), x, rows, blocks))
            .isDeepEqualTo(multiply(kernel, w.packed(), x, rows, 1));
      }
    }
  }

  @Tag("vectors")
  @ParameterizedTest
  @EnumSource
  void put_inPieces_givesTheSame(WeightFormat format) {
    inPieces(MatmulKernel.java(format));
    inPieces(MatmulKernel.fastest(format));
  }

  private static void inPieces(MatmulKernel kernel) {
    Random random = new Random(4);
    try (RandomMatrix w = new RandomMatrix(kernel.format(), 64, 133, random);
        PackedInput whole = kernel.allocate(3, 133);
        PackedInput pieces = kernel.allocate(3, 133)) {
      float[][] rows = RandomMatrix.rows(3, 133, random);
      float[][] expected = multiply(kernel, w.packed(), whole, rows, 1);
      pieces.begin(3);
      for (int row = 2; row >= 0; row--) {
        pieces.put(row, 20, FloatArray.of(rows[row]), 20, 110);
        pieces.put(row, 130, FloatArray.of(rows[row]), 130, 3);
        pieces.put(row, 0, FloatArray.of(rows[row]), 0, 20);
      }
      assertThat(product(kernel, w.packed(), pieces, 1)).isDeepEqualTo(expected);
    }
  }

  /** As attention's heads come: in pieces, from memory. */
  @Tag("vectors")
  @ParameterizedTest
  @EnumSource
  void put_fromMemory_givesTheSame(WeightFormat format) {
    for (MatmulKernel kernel : List.of(MatmulKernel.java(format), MatmulKernel.fastest(format))) {
      int in = 320;
      Random random = new Random(4);
      try (RandomMatrix w = new RandomMatrix(format, 64, in, random);
          PackedInput whole = kernel.allocate(9, in);
          PackedInput pieces = kernel.allocate(9, in)) {
        for (int count : new int[] {1, 9}) {
          float[][] rows = RandomMatrix.rows(count, in, random);
          float[][] expected = multiply(kernel, w.packed(), whole, rows, 1);
          pieces.begin(count);
          for (int row = 0; row < count; row++) {
            try (NativeFloats memory = NativeFloats.of(rows[row])) {
              for (int[] piece : new int[][] {{160, 160}, {80, 80}, {0, 17}, {17, 63}}) {
                pieces.put(row, piece[0], memory.address() + 4L * piece[0], piece[1]);
              }
            }
          }
          assertThat(product(kernel, w.packed(), pieces, 1)).isDeepEqualTo(expected);
        }
      }
    }
  }

  @Test
  void begin_moreRowsThanCapacity_isRefused() {
    try (PackedInput x = MatmulKernel.java(WeightFormat.FLOAT32).allocate(2, 4)) {
      assertThatThrownBy(() -> x.begin(3)).hasMessage("3 rows do not fit a block of 2");
    }
  }

  @Test
  void multiply_otherInputs_isRefused() {
    MatmulKernel kernel = MatmulKernel.java(WeightFormat.FLOAT32);
    try (RandomMatrix w = new RandomMatrix(WeightFormat.FLOAT32, 1, 5, new Random(5));
        PackedInput x = kernel.allocate(1, 4)) {
      assertThatThrownBy(() -> multiply(kernel, w.packed(), x, new float[1][4], 1))
          .hasMessageContaining("5 inputs");
    }
  }

  private static void agreesWithFloat64(MatmulKernel kernel) {
    Random random = new Random(1);
    for (int in : INPUTS) {
      float[][] rows = RandomMatrix.rows(SOME_ROWS, in, random);
      for (int out : OUTPUTS) {
        try (RandomMatrix w = new RandomMatrix(kernel.format(), out, in, random);
            PackedInput x = kernel.allocate(SOME_ROWS, in)) {
          float[][] y = multiply(kernel, w.packed(), x, rows, 1);
          for (int row = 0; row < SOME_ROWS; row++) {
            assertRow(w, rows[row], y[row], out, in);
          }
        }
      }
    }
  }

  private static void assertRow(RandomMatrix w, float[] x, float[] y, int out, int in) {
    float[] rounded = rounded(w.packed().format(), x);
    for (int o = 0; o < out; o++) {
      double sum = 0;
      double size = 0;
      for (int i = 0; i < in; i++) {
        double term = rounded[i] * w.number(o, i);
        sum += term;
        size += Math.abs(term);
      }
      // Every addition rounds by at most 2^-24 of the sum so far; factors round twice more.
      assertThat((double) y[o])
          .as("output %d of %d with %d inputs", o, out, in)
          .isCloseTo(sum, within((in + 3) * 0x1p-24 * size));
    }
    for (int o = out; o < y.length; o++) {
      assertThat(y[o]).as("output %d beyond %d", o, out).isZero();
    }
  }

  /** What the kernel multiplies with. */
  private static float[] rounded(WeightFormat format, float[] x) {
    if (format.hasGroups()) {
      return RandomMatrix.toGroups(x, format.group());
    }
    float[] rounded = x.clone();
    for (int i = 0; i < x.length && format == WeightFormat.BFLOAT16; i++) {
      rounded[i] = RandomMatrix.toBfloat16(x[i]);
    }
    return rounded;
  }

  private static void givesEachRowAsAlone(MatmulKernel kernel, MatmulKernel alone) {
    Random random = new Random(2);
    for (int in : INPUTS) {
      float[][] rows = RandomMatrix.rows(MOST_ROWS, in, random);
      for (int out : OUTPUTS) {
        try (RandomMatrix w = new RandomMatrix(kernel.format(), out, in, random);
            PackedInput x = kernel.allocate(MOST_ROWS, in);
            PackedInput one = alone.allocate(1, in)) {
          float[][] expected = new float[MOST_ROWS][];
          for (int row = 0; row < MOST_ROWS; row++) {
            expected[row] =
                multiply(alone, w.packed(), one, Arrays.copyOfRange(rows, row, row + 1), 8)[0];
          }
          for (int count : ROW_COUNTS) {
            assertThat(multiply(kernel, w.packed(), x, Arrays.copyOf(rows, count), 8))
                .as("%d rows, %d inputs, %d outputs", count, in, out)
                .isDeepEqualTo(Arrays.copyOf(expected, count));
          }
        }
      }
    }
  }

  private static float[][] multiply(
      MatmulKernel kernel, PackedMatrix w, PackedInput x, float[][] rows, int blocksAtOnce) {
    x.begin(rows.length);
    for (int row = 0; row < rows.length; row++) {
      x.put(row, 0, FloatArray.of(rows[row]), 0, rows[row].length);
    }
    return product(kernel, w, x, blocksAtOnce);
  }

  /** All outputs of all blocks. */
  private static float[][] product(
      MatmulKernel kernel, PackedMatrix w, PackedInput x, int blocksAtOnce) {
    int width = w.blocks() * PackedMatrix.BLOCK;
    long rowBytes = 4L * width;
    try (NativeBuffer y = NativeBuffer.allocate(rowBytes * x.rows())) {
      for (int row = 0; row < x.rows(); row += x.groupRows()) {
        for (int block = 0; block < w.blocks(); block += blocksAtOnce) {
          kernel.multiply(
              w,
              block,
              Math.min(blocksAtOnce, w.blocks() - block),
              x,
              row,
              Math.min(x.groupRows(), x.rows() - row),
              y.address() + row * rowBytes + 4L * PackedMatrix.BLOCK * block,
              rowBytes);
        }
      }
      float[][] rows = new float[x.rows()][width];
      for (int row = 0; row < x.rows(); row++) {
        for (int o = 0; o < width; o++) {
          rows[row][o] = NativeNumbers.getFloat(y.address() + row * rowBytes + 4L * o);
        }
      }
      return rows;
    }
  }
}
