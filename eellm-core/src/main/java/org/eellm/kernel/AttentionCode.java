package org.eellm.kernel;

import java.util.function.BiConsumer;
import org.eellm.kernel.assembler.Comparison;
import org.eellm.kernel.assembler.Gp;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.assembler.Memory;
import org.eellm.kernel.assembler.Vector;
import org.eellm.kernel.row.RowAssembler;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Machine code for attention, for x86-64 processors with AVX-512: the operations of {@link
 * VectorAttention} in the same order. What the JVM compiles is as fast, but only after a second or
 * two; until then a prompt takes a hundred times as long. And here memory is asked for what is read
 * next: pages are small, and the processor's own prefetching begins anew at each.
 *
 * <p>Functions take addresses, sizes and the bits of float32 numbers.
 */
final class AttentionCode extends RowAssembler {
  /** Rows whose sums stay in registers. */
  static final int MOST_ROWS = 6;

  /** With more rows arithmetic takes longer than memory. */
  private static final int MOST_ROWS_AHEAD = 4;

  /** Pointers to streams of weights. */
  static final Gp[] STREAMS = {RDI, RSI, RDX, RCX};

  /** Pointers to the rows of x. */
  private static final Gp[] ROWS = {RAX, RBX, RBP, R12, R13, R14};

  // Vector registers of products, behind the sums.
  private static final Vector WEIGHTS = zmm(24);
  private static final Vector NUMBERS = zmm(28);
  private static final Vector UPPER_HALF = zmm(31);

  // Vector registers of exponentials: those of ExponentialCode, and these.
  private static final Vector SCORE = zmm(6);
  private static final Vector TOTAL = zmm(7);
  private static final Vector MAX = zmm(8);

  // Vector registers of divisions, beside those.
  private static final Vector INFINITY = zmm(9);
  private static final Vector OVERFLOW = zmm(10);
  private static final Vector FLAGS = zmm(11);

  /**
   * Products of rows of float32 numbers and weights in a format: {@code f(w0, w1, w2, w3, steps, x,
   * y)}.
   *
   * @param streams of weights, 1 to 4
   * @param vectors of outputs in each stream; at most 4 in all streams
   * @param adds whether sums begin with what y has
   * @param strides how far apart things are
   */
  record Products(
      WeightFormat format, int rows, int streams, int vectors, boolean adds, Strides strides) {

    MachineCode code() {
      return new AttentionCode().products(this);
    }

    private int all() {
      return streams * vectors;
    }
  }

  /**
   * How far apart things are, in bytes.
   *
   * @param step from a group of inputs to the next
   * @param x from a row of x to the next
   * @param y from a row of y to the next
   * @param ahead from weights to what is read next; with one stream {@code w1} is where that begins
   */
  record Strides(int step, int x, int y, int ahead) {}

  private MachineCode products(Products of) {
    enter(0);
    mov(ROWS[0], R9);
    for (int row = 1; row < of.rows; row++) {
      mov(ROWS[row], ROWS[row - 1]);
      add(ROWS[row], of.strides.x);
    }
    if (of.format == WeightFormat.BFLOAT16) {
      mov(R10D, 0xFFFF0000);
      vpbroadcastd(UPPER_HALF, R10D);
    }
    begin(of);
    xor(R10D, R10D); // the input
    xor(R11D, R11D); // where weights are, in units of 4 bytes
    Label step = here();
    for (int v = 0; v < of.all(); v++) {
      Gp stream = STREAMS[v / of.vectors];
      int offset = v % of.vectors * VECTOR_BYTES;
      vmovups(WEIGHTS.plus(v), at(stream, R11, 4, offset));
      if (of.rows <= MOST_ROWS_AHEAD && of.streams == 1) {
        prefetcht0(at(RSI, R11, 4, offset));
      } else if (of.rows <= MOST_ROWS_AHEAD) {
        prefetcht0(at(stream, R11, 4, offset + of.strides.ahead));
      }
    }
    int inputs = of.format.inputsTogether();
    for (int i = 0; i < inputs; i++) {
      boolean lastFirst = of.format == WeightFormat.BFLOAT16; // as vdpbf16ps does
      addInput(of, lastFirst ? inputs - 1 - i : i);
    }
    add(R10, inputs);
    add(R11, of.strides.step / 4);
    dec(R8);
    jne(step);
    outputs(of, (sum, y) -> vmovups(y, sum));
    return end();
  }

  private void begin(Products of) {
    if (of.adds) {
      outputs(of, this::vmovups);
    } else {
      for (int sum = 0; sum < of.rows * of.all(); sum++) {
        vpxord(zmm(sum), zmm(sum), zmm(sum));
      }
    }
  }

  private void outputs(Products of, BiConsumer<Vector, Memory> move) {
    mov(R15, parameter(7)); // y
    for (int row = 0; row < of.rows; row++) {
      for (int v = 0; v < of.all(); v++) {
        move.accept(zmm(row * of.all() + v), at(R15, v * VECTOR_BYTES));
      }
      add(R15, of.strides.y);
    }
  }

  /** Adds one input times its weights to all sums. */
  private void addInput(Products of, int input) {
    for (int v = 0; v < of.all(); v++) {
      Vector weights = WEIGHTS.plus(v);
      Vector numbers = NUMBERS.plus(v % 3);
      switch (of.format) {
        case FLOAT32 -> numbers = weights;
        case BFLOAT16 -> {
          if (input == 0) {
            vpslld(numbers, weights, 16);
          } else {
            vpandd(numbers, weights, UPPER_HALF);
          }
        }
        case INT8 -> {
          vpslld(numbers, weights, 24 - 8 * input);
          vpsrad(numbers, numbers, 24);
          vcvtdq2ps(numbers, numbers);
        }
        case INT4 -> throw new IllegalArgumentException(of.toString());
      }
      for (int row = 0; row < of.rows; row++) {
        Vector sum = zmm(row * of.all() + v);
        vfmadd231ps(sum, numbers, at(ROWS[row], R10, 4, 4 * input).broadcasted());
      }
    }
  }

  /**
   * The largest of some scores: {@code f(scores, vectors, visible, keyScales, before)}.
   *
   * <p>{@code visible} has a bit for each position; the others do not count. {@code before} counts.
   *
   * @param scaled whether scores are multiplied with scales first
   */
  MachineCode largest(boolean scaled) {
    vpbroadcastd(MAX, R8D);
    Label next = here();
    visible();
    score(scaled);
    vmaxps(MAX.masked(K1), MAX, SCORE);
    next(next, scaled);
    reduce(this::vmaxps, MAX, X);
    vmovaps(X, MAX);
    vmovd(EAX, X.xmm());
    return end();
  }

  /**
   * Exponentials of scores below the largest: {@code f(scores, vectors, visible, keyScales,
   * valueScales, weights, total, max)}.
   *
   * @param scaled whether scores and weights are multiplied with scales
   */
  MachineCode exponentials(boolean scaled) {
    exponentialConstants();
    mov(R11, parameter(7)); // the total
    mov(R10, parameter(8)); // max
    vpbroadcastd(MAX, R10D);
    vmovups(TOTAL, at(R11));
    Label next = here();
    visible();
    score(scaled);
    vsubps(X, SCORE, MAX);
    vmaxps(X, LOWEST, X); // NaN stays
    exponential();
    // visible, and not of -infinity
    vcmpps(K2.masked(K1), SCORE, MINUS_INFINITY, Comparison.NOT_EQUAL);
    vmulps(P.zeroing(K2), P, SHIFTED);
    vaddps(TOTAL, TOTAL, P);
    if (scaled) {
      vmovups(SHIFTED, at(R8));
      vmulps(P.zeroing(K2), P, SHIFTED); // a hidden scale may be NaN
      add(R8, VECTOR_BYTES);
    }
    vmovups(at(R9), P);
    add(R9, VECTOR_BYTES);
    next(next, scaled);
    vmovups(at(R11), TOTAL);
    return end();
  }

  /** Makes a mask of the next 16 positions that are visible. */
  private void visible() {
    kmovw(K1, EDX);
    shr(RDX, 16);
  }

  private void score(boolean scaled) {
    vmovups(SCORE, at(RDI));
    if (scaled) {
      vmulps(SCORE, SCORE, at(RCX));
    }
  }

  /** Goes on with the next scores, while there are any. */
  private void next(Label start, boolean scaled) {
    if (scaled) {
      add(RCX, VECTOR_BYTES);
    }
    nextVector(start);
  }

  /** By what earlier sums are multiplied where a larger score has come: {@code f(before, max)}. */
  MachineCode factor() {
    exponentialConstants();
    vpbroadcastd(X, EDI);
    vpbroadcastd(MAX, ESI);
    vsubps(X, X, MAX);
    vmaxps(X, LOWEST, X);
    exponential();
    vmulps(X, P, SHIFTED);
    vmovd(EAX, X.xmm());
    return end();
  }

  /** Multiplies numbers in place: {@code f(at, vectors, factor)}. */
  MachineCode scaling() {
    vpbroadcastd(MAX, EDX);
    Label next = here();
    vmulps(X, MAX, at(RDI));
    vmovups(at(RDI), X);
    nextVector(next);
    return end();
  }

  /**
   * Writes rows of sums over their totals, each a vector's: {@code f(sums, vectors, totals, out,
   * rows)}. What is negative as an integer tells that a quotient is not finite.
   */
  MachineCode division() {
    fillInts(INFINITY, 0x7F800000);
    fillInts(OVERFLOW, 0x00800000); // makes the exponent of what is not finite negative
    vpxord(FLAGS, FLAGS, FLAGS);
    mov(R9, RSI);
    Label row = here();
    mov(RSI, R9);
    vmovups(TOTAL, at(RDX));
    reduce(this::vaddps, TOTAL, X);
    vbroadcastss(TOTAL, TOTAL.xmm());
    Label next = here();
    vmovups(X, at(RDI));
    vdivps(X, X, TOTAL);
    vmovups(at(RCX), X);
    vpandd(X, X, INFINITY);
    vpaddd(X, X, OVERFLOW);
    vpord(FLAGS, FLAGS, X);
    add(RCX, VECTOR_BYTES);
    nextVector(next);
    add(RDX, VECTOR_BYTES);
    add(R8, -1);
    cmp(R8, 0);
    jg(row);
    reduce(this::vpord, FLAGS, X);
    vmovaps(X, FLAGS);
    vmovd(EAX, X.xmm());
    return end();
  }
}
