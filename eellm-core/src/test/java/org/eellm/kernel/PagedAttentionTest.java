package org.eellm.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.kernel.PagedAttention.Queries;
import org.eellm.kernel.vector.CpuLevel;
import org.eellm.kernel.vector.NativeInts;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.WeightFormat;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("vectors")
final class PagedAttentionTest {
  private static final int LONGEST = 4096;
  private static final int SHORT = 70;
  private static final int NAN = -1; // in both formats of floats

  static Stream<PageLayout> layouts() {
    return Stream.of(8, 15, 20, 64, 80, 257)
        .flatMap(
            width ->
                Stream.of(WeightFormat.FLOAT32, WeightFormat.BFLOAT16, WeightFormat.INT8)
                    .map(format -> new PageLayout(format, width)));
  }

  @ParameterizedTest
  @MethodSource("layouts")
  void attend_anyLength_agreesWithFloat64(PageLayout layout) {
    float[] query = queries(1, layout);
    try (Sequence sequence = new Sequence(layout, LONGEST, false, NAN)) {
      for (int length = 1; length <= SHORT; length++) {
        assertAttends(sequence, query, length);
      }
      assertAttends(sequence, query, LONGEST);
    }
  }

  @ParameterizedTest
  @MethodSource("layouts")
  void attend_pagesInAnyOrder_givesTheSame(PageLayout layout) {
    float[] queries = queries(3, layout);
    int[] limits = {SHORT - 20, SHORT - 1, SHORT};
    try (Sequence inOrder = new Sequence(layout, SHORT, false, NAN);
        Sequence shuffled = new Sequence(layout, SHORT, true, NAN)) {
      assertThat(shuffled.pages).isNotEqualTo(inOrder.pages);
      assertThat(shuffled.attend(queries, limits)).isEqualTo(inOrder.attend(queries, limits));
    }
  }

  @ParameterizedTest
  @MethodSource("layouts")
  void attend_severalRows_givesEachAsAlone(PageLayout layout) {
    try (Sequence sequence = new Sequence(layout, 400, true, NAN)) {
      for (int rows = 1; rows <= 12; rows++) {
        float[] queries = queries(rows, layout);
        int width = layout.width();
        for (int step : new int[] {0, 1, 7, 16, 33}) {
          int first = 3 + step;
          int[] limits = IntStream.range(0, rows).map(row -> first + row * step).toArray();
          float[] together = sequence.attend(queries, limits);
          for (int row = 0; row < rows; row++) {
            float[] query = Arrays.copyOfRange(queries, row * width, (row + 1) * width);
            assertThat(Arrays.copyOfRange(together, row * width, (row + 1) * width))
                .as("row %d of %s", row, Arrays.toString(limits))
                .isEqualTo(sequence.attend(query, limits[row]));
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("layouts")
  void attend_windows_agreesWithFloat64(PageLayout layout) {
    float[] query = queries(1, layout);
    try (Sequence sequence = new Sequence(layout, 300, true, NAN)) {
      for (int window : new int[] {1, 2, 15, 16, 17, 33, 64, 65, 100, 299}) {
        for (int length : new int[] {1, 2, 16, 17, 31, 32, 33, 64, 65, 100, 129, 256, 300}) {
          assertAttends(sequence, query, window, length);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("layouts")
  void attend_severalRowsWithWindows_givesEachAsAlone(PageLayout layout) {
    int width = layout.width();
    try (Sequence sequence = new Sequence(layout, 400, true, NAN)) {
      for (int window : new int[] {1, 15, 40, 130}) {
        for (int rows : new int[] {2, 5, 6, 12, 13}) {
          float[] queries = queries(rows, layout);
          for (int step : new int[] {1, 7, 16, 27}) {
            int[] limits = IntStream.range(0, rows).map(row -> 30 + row * step).toArray();
            float[] together = sequence.attendInWindow(window, queries, limits);
            for (int row = 0; row < rows; row++) {
              float[] query = Arrays.copyOfRange(queries, row * width, (row + 1) * width);
              assertThat(Arrays.copyOfRange(together, row * width, (row + 1) * width))
                  .as("row %d of %s in windows of %d", row, Arrays.toString(limits), window)
                  .isEqualTo(sequence.attendInWindow(window, query, limits[row]));
            }
          }
        }
      }
    }
  }

  /** One call of machine code takes some thousand positions; the other kernel takes all at once. */
  @ParameterizedTest
  @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "INT4")
  void attend_morePositionsThanACallTakes_isTheSameByBothKernels(WeightFormat format) {
    PageLayout layout = new PageLayout(format, 48);
    int call = MachineAttention.MOST_POSITIONS;
    try (Sequence sequence = new Sequence(layout, 2 * call + 200, true, NAN)) {
      for (int rows : new int[] {1, 6, 8}) {
        float[] queries = queries(rows, layout);
        for (int first :
            new int[] {call - 3, call, call + 1, call + 65, 2 * call - 2, 2 * call + 7}) {
          int[] limits = IntStream.range(0, rows).map(row -> first + 16 * row).toArray();
          sequence.attend(queries, limits);
          for (int window : new int[] {70, call - 1, call, call + 40}) {
            sequence.attendInWindow(window, queries, limits);
          }
        }
      }
      assertAttends(sequence, queries(1, layout), 2 * call + 200);
    }
  }

  /** Whoever has these pages now may write to them meanwhile. */
  @ParameterizedTest
  @MethodSource("layouts")
  void attend_pagesBeforeTheWindow_areNotRead(PageLayout layout) {
    float[] queries = queries(6, layout);
    int[] limits = IntStream.range(0, 6).map(row -> 140 + row).toArray();
    int window = 50; // from position 90 on, which is in page 5
    try (Sequence whole = new Sequence(layout, 160, true, NAN);
        Sequence damaged = new Sequence(layout, 160, true, NAN)) {
      for (int position = 0; position < 80; position++) {
        damaged.overwrite(position, Float.NaN);
      }
      assertThat(damaged.attendInWindow(window, queries, limits))
          .doesNotContain(Float.NaN)
          .isEqualTo(whole.attendInWindow(window, queries, limits));
    }
  }

  /** A row that began later, alone, may not show the NaN that its neighbour sees. */
  @ParameterizedTest
  @MethodSource("layouts")
  void attend_nanBeforeARowsWindow_changesOnlyRowsThatSeeIt(PageLayout layout) {
    int width = layout.width();
    float[] queries = queries(6, layout);
    int[] limits = IntStream.range(0, 6).map(row -> 100 + 16 * row).toArray();
    int window = 40;
    try (Sequence whole = new Sequence(layout, 200, true, NAN);
        Sequence damaged = new Sequence(layout, 200, true, NAN)) {
      damaged.overwrite(61, Float.NaN); // the first row sees 60 and later, the second 76
      float[] expected = whole.attendInWindow(window, queries, limits);
      float[] found = damaged.attendInWindow(window, queries, limits);
      assertThat(Arrays.copyOf(found, width)).contains(Float.NaN);
      assertThat(Arrays.copyOfRange(found, width, found.length))
          .isEqualTo(Arrays.copyOfRange(expected, width, found.length));
    }
  }

  @ParameterizedTest
  @MethodSource("layouts")
  void attend_cappedScores_agreesWithFloat64AndRowsAlone(PageLayout layout) {
    int width = layout.width();
    ScoreFunction function = new ScoreFunction(0.5f, 2);
    float[] queries = queries(7, layout);
    try (Sequence sequence = new Sequence(layout, function, 200, true, NAN)) {
      for (int length : new int[] {7, 33, 70, 193}) {
        for (int window : new int[] {20, Integer.MAX_VALUE}) {
          int[] limits = IntStream.range(0, 7).map(row -> length + row).toArray();
          float[] together = sequence.attendInWindow(window, queries, limits);
          for (int row = 0; row < 7; row++) {
            float[] query = Arrays.copyOfRange(queries, row * width, (row + 1) * width);
            assertThat(Arrays.copyOfRange(together, row * width, (row + 1) * width))
                .isEqualTo(sequence.attendInWindow(window, query, limits[row]));
            assertAttends(sequence, query, window, limits[row]);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("layouts")
  void attend_whatPagesHadBefore_doesNotMatter(PageLayout layout) {
    float[] query = queries(1, layout);
    for (int length = 1; length <= SHORT; length++) {
      try (Sequence after0 = new Sequence(layout, length, false, 0);
          Sequence afterNan = new Sequence(layout, length, false, NAN)) {
        assertThat(afterNan.attend(query, length))
            .as("length %d", length)
            .doesNotContain(Float.NaN)
            .isEqualTo(after0.attend(query, length));
      }
    }
  }

  /** A row's result must not show what comes after it: not even that it is no number. */
  @ParameterizedTest
  @MethodSource("layouts")
  void attend_laterPositionsOfNanOrInfinity_changeNoEarlierRow(PageLayout layout) {
    int width = layout.width();
    for (float wrong : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
      for (int first : new int[] {1, 2, 15, 16, 31}) {
        int rows = 9;
        float[] queries = queries(rows, layout);
        int[] limits = IntStream.range(0, rows).map(row -> first + row).toArray();
        try (Sequence whole = new Sequence(layout, SHORT, true, NAN);
            Sequence damaged = new Sequence(layout, SHORT, true, NAN)) {
          for (int damage = first; damage < first + rows; damage++) {
            damaged.overwrite(damage, wrong);
          }
          float[] expected = whole.attend(queries, limits);
          float[] found = damaged.attend(queries, limits);
          assertThat(Arrays.copyOf(found, width))
              .as("%s after %d", wrong, first)
              .isEqualTo(Arrays.copyOf(expected, width));
          for (int row = 1; row < rows; row++) {
            assertThat(Arrays.copyOfRange(found, row * width, (row + 1) * width))
                .contains(Float.NaN);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("layouts")
  void attend_queriesOfAnySize_isTheSameByAllKernels(PageLayout layout) {
    try (Sequence sequence = new Sequence(layout, 300, true, NAN)) {
      for (float size : new float[] {0, 1e-30f, 1, 30, 1e4f}) {
        for (int limit : new int[] {1, 64, 65, 287}) {
          int rows = 13;
          float[] queries = queries(rows, layout);
          for (int i = 0; i < queries.length; i++) {
            queries[i] *= size;
          }
          int[] limits = IntStream.range(0, rows).map(row -> limit + row).toArray();
          assertThat(sequence.attend(queries, limits)).doesNotContain(Float.NaN);
        }
      }
    }
  }

  @Test
  void attend_scoresFarApart_staysFinite() {
    PageLayout layout = new PageLayout(WeightFormat.FLOAT32, 16);
    float[] query = queries(1, layout);
    for (int i = 0; i < query.length; i++) {
      query[i] *= 1e4f;
    }
    try (Sequence sequence = new Sequence(layout, SHORT, false, NAN)) {
      assertAttends(sequence, query, SHORT);
    }
  }

  @ParameterizedTest
  @MethodSource("layouts")
  void write_anyPosition_isReadAgain(PageLayout layout) {
    float[] read = new float[layout.width()];
    try (Sequence sequence = new Sequence(layout, 20, false, NAN)) {
      for (int position = 0; position < 20; position++) {
        long page = sequence.page(position);
        PageReader.readKey(layout, page, position % PageLayout.POSITIONS, read);
        assertThat(read).isEqualTo(sequence.keys[position]);
        PageReader.readValue(layout, page, position % PageLayout.POSITIONS, read);
        assertThat(read).isEqualTo(sequence.values[position]);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 8, 16, 20, 34, 64, 80, 128, 256, 320})
  void rotate_anyWidth_isThatOfTheDefinitionByAllKernels(int width) {
    PageLayout layout = new PageLayout(WeightFormat.BFLOAT16, width);
    float[] head = RandomMatrix.rows(1, width + 3, new Random(1))[0];
    for (int pairs = 0; pairs <= width / 2; pairs++) {
      float[] cosines = RandomMatrix.rows(1, pairs + 1, new Random(2))[0];
      float[] sines = RandomMatrix.rows(1, pairs + 1, new Random(3))[0];
      float[] expected = head.clone();
      for (int i = 0; i < pairs; i++) {
        float a = head[i];
        float b = head[width / 2 + i];
        expected[i] = a * cosines[i] - b * sines[i];
        expected[width / 2 + i] = b * cosines[i] + a * sines[i];
      }
      for (PagedAttention kernel : kernels(layout, plain(layout.width()))) {
        try (kernel;
            NativeFloats memory = NativeFloats.of(head);
            NativeFloats cos = NativeFloats.of(cosines);
            NativeFloats sin = NativeFloats.of(sines)) {
          kernel.rotate(memory.address(), cos.address(), sin.address(), pairs);
          kernel.finish();
          assertThat(memory.read()).isEqualTo(expected);
        }
      }
    }
  }

  private static ScoreFunction plain(int width) {
    return new ScoreFunction((float) (1 / Math.sqrt(width)), 0);
  }

  @ParameterizedTest
  @MethodSource("layouts")
  void of_neonOnArm64Alone_isThere(PageLayout layout) {
    assertThat(NeonAttention.of(layout, plain(layout.width())).isPresent())
        .isEqualTo(CpuLevel.chosen() == CpuLevel.NEON);
  }

  @Test
  void layout_int4_isRefused() {
    assertThatThrownBy(() -> new PageLayout(WeightFormat.INT4, 64))
        .hasMessage("keys and values have 8 bits at least");
  }

  @Test
  void bytes_int8_areHalfOfBfloat16AndTheScales() {
    assertThat(new PageLayout(WeightFormat.INT8, 64).bytes())
        .isEqualTo(new PageLayout(WeightFormat.BFLOAT16, 64).bytes() / 2 + 16 * 2 * 4);
  }

  private static float[] queries(int rows, PageLayout layout) {
    Random random = new Random(rows);
    float[] queries = new float[rows * layout.width()];
    for (int i = 0; i < queries.length; i++) {
      queries[i] = (float) random.nextGaussian();
    }
    return queries;
  }

  private static void assertAttends(Sequence sequence, float[] query, int length) {
    assertAttends(sequence, query, Integer.MAX_VALUE, length);
  }

  private static void assertAttends(Sequence sequence, float[] query, int window, int length) {
    float[] out = sequence.attendInWindow(window, query, length);
    double[] expected = sequence.reference(query, window, length);
    for (int i = 0; i < out.length; i++) {
      assertThat((double) out[i])
          .as("number %d of length %d", i, length)
          .isCloseTo(expected[i], within(3e-6));
    }
  }

  /** Plain Java's, the Vector API's, and the fastest. */
  private static List<PagedAttention> kernels(PageLayout layout, ScoreFunction function) {
    return List.of(
        PagedAttention.java(layout, function, false),
        PagedAttention.java(layout, function, true),
        PagedAttention.fastest(layout, function));
  }

  /** Random keys and values in pages, and as arrays. */
  private static final class Sequence implements AutoCloseable {
    final int[] pages;
    final float[][] keys;
    final float[][] values;
    private final PageLayout layout;
    private final ScoreFunction function;
    private final GuardedMemory memory;
    private final List<NativeFloats> written; // a position's key and value
    private final List<PagedAttention> kernels;

    Sequence(PageLayout layout, int length, boolean shuffled, int bitsBefore) {
      this(layout, plain(layout.width()), length, shuffled, bitsBefore);
    }

    Sequence(
        PageLayout layout, ScoreFunction function, int length, boolean shuffled, int bitsBefore) {
      this.layout = layout;
      this.function = function;
      int count = Math.ceilDiv(length, PageLayout.POSITIONS);
      pages = order(count, shuffled);
      memory = GuardedMemory.allocate(layout.bytes() * count);
      float[] none = new float[layout.width()];
      written = List.of(NativeFloats.of(none), NativeFloats.of(none));
      kernels = kernels(layout, function);
      for (long i = 0; i < memory.bytes(); i += Integer.BYTES) {
        NativeNumbers.MEMORY.set(ValueLayout.JAVA_INT_UNALIGNED, memory.address() + i, bitsBefore);
      }
      Random random = new Random(7);
      keys = RandomMatrix.rows(length, layout.width(), random);
      values = RandomMatrix.rows(length, layout.width(), random);
      for (int position = 0; position < length; position++) {
        write(position, keys[position], values[position]);
        round(keys[position]);
        round(values[position]);
      }
    }

    /** Writes a key and value of one number over what a position has. */
    void overwrite(int position, float number) {
      float[] key = new float[layout.width()];
      Arrays.fill(key, number);
      write(position, key, key);
    }

    /** Writes a position by all kernels, which leave the same in its page. */
    private void write(int position, float[] key, float[] value) {
      byte[] before = bytes(position);
      write(kernels.getFirst(), position, key, value);
      byte[] written = bytes(position);
      for (PagedAttention kernel : kernels.subList(1, kernels.size())) {
        MemorySegment.copy(
            before, 0, NativeNumbers.MEMORY, ValueLayout.JAVA_BYTE, page(position), before.length);
        write(kernel, position, key, value);
        assertThat(bytes(position)).as("position %d", position).isEqualTo(written);
      }
    }

    private void write(PagedAttention attention, int position, float[] key, float[] value) {
      written.getFirst().write(key);
      written.getLast().write(value);
      attention.write(
          page(position),
          position % PageLayout.POSITIONS,
          written.getFirst().address(),
          written.getLast().address());
      attention.finish();
    }

    private byte[] bytes(int position) {
      byte[] bytes = new byte[(int) layout.bytes()];
      MemorySegment.copy(
          NativeNumbers.MEMORY, ValueLayout.JAVA_BYTE, page(position), bytes, 0, bytes.length);
      return bytes;
    }

    /** What the format leaves of numbers. */
    private void round(float[] numbers) {
      float largest = 0;
      for (float number : numbers) {
        largest = Math.max(largest, Math.abs(number));
      }
      float scale = largest / 127;
      for (int i = 0; i < numbers.length; i++) {
        numbers[i] =
            switch (layout.format()) {
              case FLOAT32 -> numbers[i];
              case BFLOAT16 -> RandomMatrix.toBfloat16(numbers[i]);
              case INT8 -> Math.round(numbers[i] / scale) * scale;
              case INT4 -> throw new IllegalStateException();
            };
      }
    }

    private static int[] order(int count, boolean shuffled) {
      List<Integer> order = new ArrayList<>(IntStream.range(0, count).boxed().toList());
      if (shuffled) {
        Collections.shuffle(order, new Random(8));
      }
      return order.stream().mapToInt(Integer::intValue).toArray();
    }

    long page(int position) {
      return memory.address() + layout.bytes() * pages[position / PageLayout.POSITIONS];
    }

    /** What all kernels give, which is the same. */
    float[] attend(float[] queries, int... limits) {
      return attendInWindow(Integer.MAX_VALUE, queries, limits);
    }

    /** The same of the last positions alone. */
    float[] attendInWindow(int window, float[] queries, int... limits) {
      float[] out = attend(kernels.getFirst(), window, queries, limits);
      for (PagedAttention kernel : kernels.subList(1, kernels.size())) {
        assertThat(attend(kernel, window, queries, limits)).isEqualTo(out);
      }
      return out;
    }

    private float[] attend(PagedAttention attention, int window, float[] queries, int... limits) {
      int width = layout.width();
      float[] out = new float[queries.length];
      try (NativeInts numbers = numbers(pages);
          NativeInts seen = numbers(limits);
          NativeFloats rows = NativeFloats.of(queries);
          NativeFloats found = NativeFloats.of(new float[limits.length * layout.valueWidth()])) {
        int group = limits.length % 4 == 0 ? 4 : limits.length % 2 == 0 ? 2 : 1; // of a row
        attention.attend(
            numbers,
            memory.address(),
            layout.bytes(),
            new Queries().at(rows.address(), 4L * group * width, limits.length / group, group),
            seen,
            0,
            window,
            found.address());
        for (int row = 0; row < limits.length; row++) {
          System.arraycopy(found.read(), row * layout.valueWidth(), out, row * width, width);
        }
      }
      return out;
    }

    private static NativeInts numbers(int... numbers) {
      NativeInts ints = new NativeInts(numbers.length);
      ints.copy(numbers, numbers.length);
      return ints;
    }

    double[] reference(float[] query, int window, int length) {
      double[] scores = new double[length];
      Arrays.fill(scores, Double.NEGATIVE_INFINITY);
      for (int position = Math.max(0, length - window); position < length; position++) {
        double product = 0;
        for (int i = 0; i < query.length; i++) {
          product += (double) query[i] * keys[position][i];
        }
        double score = product * function.scale();
        scores[position] =
            function.softcap() == 0
                ? score
                : function.softcap() * Math.tanh(score / function.softcap());
      }
      double max = Arrays.stream(scores).max().orElseThrow();
      double total = 0;
      double[] out = new double[query.length];
      for (int position = 0; position < length; position++) {
        double weight = Math.exp(scores[position] - max);
        total += weight;
        for (int i = 0; i < out.length; i++) {
          out[i] += weight * values[position][i];
        }
      }
      for (int i = 0; i < out.length; i++) {
        out[i] /= total;
      }
      return out;
    }

    @Override
    public void close() {
      kernels.forEach(PagedAttention::close);
      memory.close();
      written.forEach(NativeFloats::close);
    }
  }
}
