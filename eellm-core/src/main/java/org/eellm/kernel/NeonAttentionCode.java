package org.eellm.kernel;

import org.eellm.kernel.assembler.Arm64Assembler;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Machine code for attention on AArch64: what {@link JavaAttention} does, in the same order, for a
 * group of positions and some rows. Of what a row has in memory, {@link Row} says where.
 *
 * <p>Functions take addresses and sizes.
 */
final class NeonAttentionCode extends Arm64Assembler {
  /** Most rows, of whose sums 16 registers have a cache line. */
  static final int MOST_ROWS = 4;

  /** Positions of a group: as {@link PagedAttention#GROUP} is where vectors have 256 bits. */
  static final int GROUP = PagedAttention.VECTORS * 8;

  private static final int SUMS = 16;
  private static final int BYTES = 16; // of a vector
  private static final int LANES = 4;
  private static final int GROUP_VECTORS = GROUP / LANES;

  // General registers of products.
  private static final X W = x(0);
  private static final X STEPS = x(1);
  private static final X[] ROWS = {x(2), x(8), x(9), x(10)}; // of x
  private static final X[] OUTPUTS = {x(3), x(14), x(15), x(16)}; // rows of y
  private static final X[] INPUTS = {x(4), x(5), x(6), x(7)}; // the next of each row
  private static final X WEIGHTS = x(11); // the next
  private static final X LEFT_STEPS = x(12);
  private static final X LEFT_SLICES = x(13);
  private static final X DISTANCE = x(17);

  // Vector registers of products.
  private static final V INPUT = v(0); // of the first row
  private static final V WEIGHT = v(4);
  private static final V NUMBERS = v(5);
  private static final V UPPER_HALF = v(7);
  private static final V SUM = v(16); // the first

  // General registers of the others.
  private static final X ROW = x(0);
  private static final X LIMITS = x(1);
  private static final X LEFT_ROWS = x(2);
  private static final X POSITION = x(3);
  private static final X WINDOW = x(4);
  private static final X SCALES = x(5);
  private static final X FREE = x(6);
  private static final X SUM_AT = x(7);
  private static final X OUT = x(8);
  private static final X ROW_BYTES = x(9);

  // Vector registers of exponentials and of weights.
  private static final V EXPONENT_OF = v(0); // the argument
  private static final V SHIFTED = v(1); // the power of two that it is yet to be multiplied with
  private static final V N = v(2);
  private static final V P = v(3);
  private static final V Q = v(4);
  private static final V SCORE = v(5);
  private static final V OTHER = v(6);
  private static final V MAX = v(7);

  // Their constants, in all lanes.
  private static final V LOWEST = v(16);
  private static final V HIGHEST = v(17);
  private static final V ROUND = v(18);
  private static final V ONE = v(19);
  private static final V MINUS_INFINITY = v(20);
  private static final V EXPONENT = v(21);
  private static final V FOUR = v(22);

  // Those of which each lane has another.
  private static final V FACTORS = v(23); // log2(e), ln(2) in two parts, the highest coefficient
  private static final V COEFFICIENTS = v(24); // those after it
  private static final V CAPS = v(25); // the lowest coefficient; of soft caps minus two over the
  // cap, twice the cap, and the cap
  private static final V LANE = v(26); // its number

  // Of scores; those of totals share registers with them.
  private static final V PLACE = v(27);
  private static final V END = v(28);
  private static final V BEGIN = v(29);
  private static final V TOTAL = v(28); // the first of two
  private static final V BEFORE = v(30); // the largest score

  // Of divisions.
  private static final V INFINITY = v(16);
  private static final V OVERFLOW = v(17);
  private static final V FLAGS = v(18);

  private static final float[][] LANES_OF_FACTORS = {
    {1.44269504f, -0.693359375f, 2.12194440e-4f, 1.9875691500e-4f},
    {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f},
  };
  private static final float LAST_COEFFICIENT = 5.0000001201e-1f;

  private final PageLayout layout;

  private NeonAttentionCode(PageLayout layout) {
    this.layout = layout;
  }

  /**
   * Where a row of a tile has what belongs to it, in bytes from its begin: scores and weights of a
   * group, totals of the lanes, the largest score so far, sums, and the query. Behind all rows are
   * the scales of a group's keys, then of its values.
   */
  record Row(PageLayout layout) {
    static final int SCORES = 0;
    static final int WEIGHTS = 4 * GROUP;
    static final int TOTALS = 2 * WEIGHTS;
    static final int MAX = TOTALS + 2 * BYTES;
    static final int SUMS = MAX + BYTES;

    int query() {
      return SUMS + 4 * layout.valueWidth();
    }

    int bytes() {
      int queryBytes = 4 * layout.keySteps() * layout.format().inputsTogether();
      return query() + Math.ceilDiv(queryBytes, BYTES) * BYTES;
    }

    int keyScales() {
      return MOST_ROWS * bytes();
    }

    int valueScales() {
      return keyScales() + 4 * GROUP;
    }

    int tileBytes() {
      return valueScales() + 4 * GROUP;
    }
  }

  /** Scores of a page: {@code f(keys, steps, queries, scores)}. */
  static MachineCode scores(PageLayout layout, int rows) {
    return new NeonAttentionCode(layout)
        .products(rows, PageLayout.POSITIONS / LANES, 4 * PageLayout.POSITIONS, false);
  }

  /** Adds a page's values times their weights: {@code f(values, steps, weights, sums)}. */
  static MachineCode mixture(PageLayout layout, int rows) {
    return new NeonAttentionCode(layout)
        .products(rows, layout.valueWidth() / LANES, (int) layout.valueStepBytes(), true);
  }

  /**
   * Products of rows of float32 numbers and weights: {@code f(w, steps, x, y)}. Takes the outputs
   * in slices, whose sums are in registers.
   *
   * @param vectors of outputs, a multiple of 4
   * @param stepBytes from a group of inputs to the next
   * @param adds whether sums begin with what y has
   */
  private MachineCode products(int rows, int vectors, int stepBytes, boolean adds) {
    int slice = SUMS / Integer.highestOneBit(2 * rows - 1);
    while (vectors % slice != 0) {
      slice /= 2;
    }
    mov(DISTANCE, new Row(layout).bytes());
    for (int row = 1; row < rows; row++) {
      add(ROWS[row], ROWS[row - 1], DISTANCE);
      add(OUTPUTS[row], OUTPUTS[row - 1], DISTANCE);
    }
    mov(DISTANCE, stepBytes);
    mov(LEFT_SLICES, vectors / slice);
    if (layout.format() == WeightFormat.BFLOAT16) {
      moviMask(UPPER_HALF, 0b11001100);
    }
    Label next = here();
    mov(WEIGHTS, W);
    mov(LEFT_STEPS, STEPS);
    for (int row = 0; row < rows; row++) {
      mov(INPUTS[row], ROWS[row]);
      for (int v = 0; v < slice; v++) {
        if (adds) {
          ldrQ(SUM.plus(row * slice + v), OUTPUTS[row], v * BYTES);
        } else {
          moviMask(SUM.plus(row * slice + v), 0);
        }
      }
    }
    Label step = here();
    step(rows, slice);
    add(WEIGHTS, WEIGHTS, DISTANCE);
    sub(LEFT_STEPS, LEFT_STEPS, 1);
    cbnz(LEFT_STEPS, step);
    for (int row = 0; row < rows; row++) {
      for (int v = 0; v < slice; v++) {
        strQ(SUM.plus(row * slice + v), OUTPUTS[row], v * BYTES);
      }
      add(OUTPUTS[row], OUTPUTS[row], slice * BYTES);
    }
    add(W, W, slice * BYTES);
    sub(LEFT_SLICES, LEFT_SLICES, 1);
    cbnz(LEFT_SLICES, next);
    ret();
    return finish();
  }

  /** Adds the products of a group of inputs. */
  private void step(int rows, int slice) {
    WeightFormat format = layout.format();
    int inputs = format.inputsTogether();
    for (int row = 0; row < rows; row++) {
      ldrThenAdd(INPUT.plus(row), INPUTS[row], Float.BYTES * inputs);
    }
    for (int v = 0; v < slice; v++) {
      ldrQ(WEIGHT, WEIGHTS, v * BYTES);
      for (int i = 0; i < inputs; i++) {
        int input = format == WeightFormat.BFLOAT16 ? 1 - i : i; // the second first
        V numbers = numbers(format, input);
        for (int row = 0; row < rows; row++) {
          fmla(SUM.plus(row * slice + v), numbers, INPUT.plus(row), input);
        }
      }
    }
  }

  /** The register that has an input's weights as float32 numbers. */
  private V numbers(WeightFormat format, int input) {
    switch (format) {
      case FLOAT32 -> {
        return WEIGHT;
      }
      case BFLOAT16 -> {
        if (input == 0) {
          shl(NUMBERS, WEIGHT, 16);
        } else {
          and(NUMBERS, WEIGHT, UPPER_HALF);
        }
      }
      case INT8 -> {
        shl(NUMBERS, WEIGHT, 24 - 8 * input);
        sshr(NUMBERS, NUMBERS, 24);
        scvtf(NUMBERS, NUMBERS);
      }
      case INT4 -> throw new IllegalArgumentException(format.toString());
    }
    return NUMBERS;
  }

  /**
   * Makes weights of a group's scores: {@code f(tile, limits, rows, position, window)}. Rows see
   * positions below their limits, and at most a window of them; {@code position} is the group's
   * first one.
   *
   * @param softcap of scores, or 0
   */
  static MachineCode weighing(PageLayout layout, float softcap) {
    return new NeonAttentionCode(layout).weigh(softcap);
  }

  private MachineCode weigh(float softcap) {
    Row places = new Row(layout);
    constants(softcap);
    mov(SCALES, places.keyScales());
    add(SCALES, ROW, SCALES);
    mov(ROW_BYTES, places.bytes());
    Label next = here();
    limits();
    ldrS(BEFORE, ROW, Row.MAX);
    dup(MAX, BEFORE, 0);
    for (int v = 0; v < GROUP_VECTORS; v++) {
      score(v, softcap);
    }
    fmaxv(MAX, MAX);
    dup(MAX, MAX, 0);
    strS(MAX, ROW, Row.MAX);
    scale();
    ldrQ(TOTAL, ROW, Row.TOTALS);
    ldrQ(TOTAL.plus(1), ROW, Row.TOTALS + BYTES);
    for (int v = 0; v < GROUP_VECTORS; v++) {
      weight(v);
    }
    strQ(TOTAL, ROW, Row.TOTALS);
    strQ(TOTAL.plus(1), ROW, Row.TOTALS + BYTES);
    add(ROW, ROW, ROW_BYTES);
    sub(LEFT_ROWS, LEFT_ROWS, 1);
    cbnz(LEFT_ROWS, next);
    ret();
    return finish();
  }

  private void constants(float softcap) {
    fill(LOWEST, -87.3f);
    fill(HIGHEST, 88.3f);
    fill(ROUND, 12582912f);
    fill(ONE, 1);
    fill(MINUS_INFINITY, Float.NEGATIVE_INFINITY);
    fillInts(EXPONENT, 127 - 0x4B400000);
    fillInts(FOUR, LANES);
    for (int lane = 0; lane < LANES; lane++) {
      insert(FACTORS, lane, LANES_OF_FACTORS[0][lane]);
      insert(COEFFICIENTS, lane, LANES_OF_FACTORS[1][lane]);
      mov(FREE, lane);
      insert(LANE, lane, FREE);
    }
    insert(CAPS, 0, LAST_COEFFICIENT);
    if (softcap != 0) {
      insert(CAPS, 1, -2 / softcap);
      insert(CAPS, 2, 2 * softcap);
      insert(CAPS, 3, softcap);
    }
  }

  private void fill(V to, float number) {
    fillInts(to, Float.floatToRawIntBits(number));
  }

  private void fillInts(V to, int number) {
    mov(FREE, number);
    dup(to, FREE);
  }

  private void insert(V to, int lane, float number) {
    mov(FREE, Float.floatToRawIntBits(number));
    insert(to, lane, FREE);
  }

  /** Where in the group the positions end and begin that the row sees. */
  private void limits() {
    ldrThenAdd(FREE, LIMITS);
    sub(FREE, FREE, POSITION);
    dup(END, FREE);
    sub(FREE, FREE, WINDOW);
    dup(BEGIN, FREE);
    mov(PLACE, LANE);
  }

  /**
   * Finishes a vector of scores; minus infinity are those of positions that the row does not see.
   */
  private void score(int v, float softcap) {
    ldrQ(SCORE, ROW, Row.SCORES + v * BYTES);
    if (layout.hasScales()) {
      ldrQ(OTHER, SCALES, v * BYTES);
      fmul(SCORE, SCORE, OTHER);
    }
    if (softcap != 0) {
      cap();
    }
    cmgt(OTHER, END, PLACE);
    cmge(N, PLACE, BEGIN);
    and(OTHER, OTHER, N);
    add(PLACE, PLACE, FOUR);
    bsl(OTHER, SCORE, MINUS_INFINITY);
    strQ(OTHER, ROW, Row.SCORES + v * BYTES);
    fmax(MAX, MAX, OTHER);
  }

  /** As {@link org.eellm.kernel.vector.Exponential#softcap}. */
  private void cap() {
    fmul(EXPONENT_OF, SCORE, CAPS, 1);
    fmax(EXPONENT_OF, EXPONENT_OF, LOWEST);
    fmin(EXPONENT_OF, EXPONENT_OF, HIGHEST);
    exponential();
    fadd(SCORE, EXPONENT_OF, ONE);
    fdiv(SCORE, ONE, SCORE);
    fmul(SCORE, SCORE, CAPS, 2);
    dup(OTHER, CAPS, 3);
    fsub(SCORE, SCORE, OTHER);
  }

  /**
   * The exponential of an argument within bounds, in its place: the polynomial of {@link
   * org.eellm.kernel.vector.Exponential}, in its order.
   */
  private void exponential() {
    mov(SHIFTED, ROUND);
    fmla(SHIFTED, EXPONENT_OF, FACTORS, 0);
    fsub(N, SHIFTED, ROUND);
    fmla(EXPONENT_OF, N, FACTORS, 1);
    fmla(EXPONENT_OF, N, FACTORS, 2);
    dup(P, COEFFICIENTS, 0);
    fmla(P, EXPONENT_OF, FACTORS, 3);
    dup(Q, COEFFICIENTS, 1);
    fmla(Q, P, EXPONENT_OF);
    dup(P, COEFFICIENTS, 2);
    fmla(P, Q, EXPONENT_OF);
    dup(Q, COEFFICIENTS, 3);
    fmla(Q, P, EXPONENT_OF);
    dup(P, CAPS, 0);
    fmla(P, Q, EXPONENT_OF);
    fmul(N, EXPONENT_OF, EXPONENT_OF);
    fmla(EXPONENT_OF, P, N);
    fadd(EXPONENT_OF, EXPONENT_OF, ONE);
    add(SHIFTED, SHIFTED, EXPONENT);
    shl(SHIFTED, SHIFTED, 23);
    fmul(EXPONENT_OF, EXPONENT_OF, SHIFTED);
  }

  /** Makes totals and sums smaller where the largest score has grown. */
  private void scale() {
    Label asBefore = new Label();
    fcmgt(OTHER, MAX, BEFORE);
    mov(FREE, OTHER);
    cbz(FREE, asBefore);
    fsub(EXPONENT_OF, BEFORE, MAX);
    fmax(EXPONENT_OF, EXPONENT_OF, LOWEST); // before the first, when totals and sums are 0
    exponential();
    for (int at = Row.TOTALS; at < Row.MAX; at += BYTES) {
      ldrQ(OTHER, ROW, at);
      fmul(OTHER, OTHER, EXPONENT_OF, 0);
      strQ(OTHER, ROW, at);
    }
    Label next = sums();
    ldrQ(OTHER, SUM_AT, 0);
    fmul(OTHER, OTHER, EXPONENT_OF, 0);
    strQ(OTHER, SUM_AT, 0);
    add(SUM_AT, SUM_AT, BYTES);
    sub(FREE, FREE, 1);
    cbnz(FREE, next);
    bind(asBefore);
  }

  /** Begins a loop over the vectors of a row's sums. */
  private Label sums() {
    add(SUM_AT, ROW, Row.SUMS);
    mov(FREE, layout.valueWidth() / LANES);
    return here();
  }

  /** Makes weights of a vector of scores. */
  private void weight(int v) {
    ldrQ(SCORE, ROW, Row.SCORES + v * BYTES);
    fsub(EXPONENT_OF, SCORE, MAX);
    fmax(EXPONENT_OF, EXPONENT_OF, LOWEST);
    exponential();
    fcmeq(OTHER, SCORE, MINUS_INFINITY);
    bic(EXPONENT_OF, EXPONENT_OF, OTHER);
    fadd(TOTAL.plus(v % 2), TOTAL.plus(v % 2), EXPONENT_OF);
    if (layout.hasScales()) {
      ldrQ(SCORE, SCALES, 4 * GROUP + v * BYTES);
      fmul(EXPONENT_OF, EXPONENT_OF, SCORE);
      bic(EXPONENT_OF, EXPONENT_OF, OTHER); // a hidden scale may be NaN
    }
    strQ(EXPONENT_OF, ROW, Row.WEIGHTS + v * BYTES);
  }

  /**
   * Writes rows of sums over their totals: {@code f(tile, out, rows)}. What is negative as an
   * integer tells that a quotient is not finite.
   */
  static MachineCode division(PageLayout layout) {
    return new NeonAttentionCode(layout).divide();
  }

  private MachineCode divide() {
    mov(OUT, LIMITS); // the second parameter
    mov(ROW_BYTES, new Row(layout).bytes());
    fillInts(INFINITY, 0x7F800000);
    fillInts(OVERFLOW, 0x00800000); // makes the exponent of what is not finite negative
    moviMask(FLAGS, 0);
    Label row = here();
    ldrQ(TOTAL, ROW, Row.TOTALS);
    ldrQ(OTHER, ROW, Row.TOTALS + BYTES);
    faddp(TOTAL, TOTAL, OTHER);
    faddp(TOTAL, TOTAL, TOTAL);
    faddp(TOTAL, TOTAL, TOTAL);
    Label next = sums();
    ldrQ(OTHER, SUM_AT, 0);
    fdiv(OTHER, OTHER, TOTAL);
    strQ(OTHER, OUT, 0);
    and(OTHER, OTHER, INFINITY);
    add(OTHER, OTHER, OVERFLOW);
    orr(FLAGS, FLAGS, OTHER);
    add(SUM_AT, SUM_AT, BYTES);
    add(OUT, OUT, BYTES);
    sub(FREE, FREE, 1);
    cbnz(FREE, next);
    add(ROW, ROW, ROW_BYTES);
    sub(LEFT_ROWS, LEFT_ROWS, 1);
    cbnz(LEFT_ROWS, row);
    umaxv(FLAGS, FLAGS);
    mov(x(0), FLAGS);
    ret();
    return finish();
  }
}
