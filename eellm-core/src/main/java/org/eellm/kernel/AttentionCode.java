package org.eellm.kernel;

import java.util.function.BiConsumer;
import org.eellm.kernel.assembler.Comparison;
import org.eellm.kernel.assembler.Gp;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.assembler.Memory;
import org.eellm.kernel.assembler.Operand;
import org.eellm.kernel.assembler.Vector;
import org.eellm.kernel.row.RowAssembler;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Machine code for attention, for x86-64 processors with AVX-512 or AVX2: what {@link
 * JavaAttention} does, in the same order. Memory is asked for what is read next: pages are small,
 * and the processor's own prefetching begins anew at each.
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

  private static final int LINE_BYTES = 64; // of a cache

  // Vector registers of products, behind the sums.
  private static final Vector WEIGHTS = vector(24); // AVX-512 has room for all of a step
  private final Vector numbers = vector(isAvx512() ? 28 : 12);
  private final Vector x = vector(14); // AVX2 needs it in a register
  private final Vector upperHalf = vector(isAvx512() ? 31 : 15);

  // Vector registers of exponentials: those of ExponentialCode, and these.
  private static final Vector SCORE = vector(6);
  private static final Vector TOTAL = vector(7);
  private static final Vector MAX = vector(8);

  // Those of soft caps.
  private static final Vector CAP = vector(9);
  private static final Vector TWICE_CAP = vector(10);
  private static final Vector FACTOR = vector(11); // minus two over the cap

  // Vector registers of divisions, beside those.
  private static final Vector INFINITY = vector(9);
  private static final Vector OVERFLOW = vector(10);
  private static final Vector FLAGS = vector(11);

  AttentionCode(int vectorBits) {
    super(vectorBits);
  }

  /**
   * Products of rows of float32 numbers and weights in a format: {@code f(w0, w1, w2, w3, steps, x,
   * y)}.
   *
   * @param streams of weights, 1 to 4
   * @param lines of 16 outputs in each stream; at most 4 in all streams
   * @param adds whether sums begin with what y has
   * @param strides how far apart things are
   */
  record Products(
      WeightFormat format, int rows, int streams, int lines, boolean adds, Strides strides) {

    MachineCode code(int vectorBits) {
      return new AttentionCode(vectorBits).products(this);
    }
  }

  /**
   * Some vectors of outputs, of all streams, whose sums are in registers at once. AVX2 goes through
   * the outputs in slices.
   */
  private record Slice(Products of, int first, int vectors) {

    Vector sum(int row, int v) {
      return Vector.of(row * vectors + v - first, Vector.WHOLE);
    }

    int end() {
      return first + vectors;
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
      broadcast(upperHalf, R10D);
    }
    int all = of.streams * vectors(of);
    int together = isAvx512() ? all : Math.min(all, vectorsOfAvx2(of.rows));
    if (together < all) {
      mov(R9, R8);
    }
    for (int first = 0; first < all; first += together) {
      if (first > 0) {
        mov(R8, R9);
      }
      multiply(new Slice(of, first, together));
    }
    return end();
  }

  /** Of outputs in each stream. */
  private int vectors(Products of) {
    return of.lines * LINE_BYTES / vectorBytes();
  }

  private void multiply(Slice slice) {
    Products of = slice.of;
    begin(slice);
    xor(R10D, R10D); // the input
    xor(R11D, R11D); // where weights are, in units of 4 bytes
    Label step = here();
    for (int v = slice.first; v < slice.end(); v++) {
      if (isAvx512()) {
        vmovups(WEIGHTS.plus(v), weights(of, v, 0));
      }
      if (of.rows <= MOST_ROWS_AHEAD && v * vectorBytes() % LINE_BYTES == 0) {
        askAhead(of, v);
      }
    }
    int inputs = of.format.inputsTogether();
    for (int i = 0; i < inputs; i++) {
      boolean lastFirst = of.format == WeightFormat.BFLOAT16; // as vdpbf16ps does
      addInput(slice, lastFirst ? inputs - 1 - i : i);
    }
    add(R10, inputs);
    add(R11, of.strides.step / 4);
    dec(R8);
    jne(step);
    outputs(slice, (sum, y) -> vmovups(y, sum));
  }

  /** A vector of a step's weights, or what is so far from them. */
  private Memory weights(Products of, int v, int distance) {
    int offset = v % vectors(of) * vectorBytes();
    return at(STREAMS[v / vectors(of)], R11, 4, offset + distance);
  }

  private void askAhead(Products of, int v) {
    prefetcht0(
        of.streams == 1 ? at(RSI, R11, 4, v * vectorBytes()) : weights(of, v, of.strides.ahead));
  }

  private void begin(Slice slice) {
    if (slice.of.adds) {
      outputs(slice, this::vmovups);
    } else {
      for (int sum = 0; sum < slice.of.rows * slice.vectors; sum++) {
        vpxord(vector(sum), vector(sum), vector(sum));
      }
    }
  }

  private void outputs(Slice slice, BiConsumer<Vector, Memory> move) {
    mov(R15, parameter(7)); // y
    for (int row = 0; row < slice.of.rows; row++) {
      for (int v = slice.first; v < slice.end(); v++) {
        move.accept(slice.sum(row, v), at(R15, v * vectorBytes()));
      }
      add(R15, slice.of.strides.y);
    }
  }

  /** Adds one input times its weights to all sums; AVX2 takes what x is for two vectors. */
  private void addInput(Slice slice, int input) {
    int together = isAvx512() ? 1 : 2;
    for (int from = slice.first; from < slice.end(); from += together) {
      for (int v = from; v < from + together; v++) {
        readNumbers(slice.of, v, input);
      }
      for (int row = 0; row < slice.of.rows; row++) {
        Operand number = broadcasted(at(ROWS[row], R10, 4, 4 * input), x);
        for (int v = from; v < from + together; v++) {
          vfmadd231ps(slice.sum(row, v), numbers(slice.of, v), number);
        }
      }
    }
  }

  /** The register of an input's weights as float32 numbers. */
  private Vector numbers(Products of, int v) {
    if (!isAvx512()) {
      return numbers.plus(v % 2);
    }
    return of.format == WeightFormat.FLOAT32 ? WEIGHTS.plus(v) : numbers.plus(v % 3);
  }

  private void readNumbers(Products of, int v, int input) {
    Vector to = numbers(of, v);
    Vector from = isAvx512() ? WEIGHTS.plus(v) : to;
    if (!isAvx512()) {
      vmovups(to, weights(of, v, 0));
    }
    switch (of.format) {
      case FLOAT32 -> {}
      case BFLOAT16 -> {
        if (input == 0) {
          vpslld(to, from, 16);
        } else {
          vpandd(to, from, upperHalf);
        }
      }
      case INT8 -> {
        vpslld(to, from, 24 - 8 * input);
        vpsrad(to, to, 24);
        vcvtdq2ps(to, to);
      }
      case INT4 -> throw new IllegalArgumentException(of.toString());
    }
  }

  /**
   * The largest of some scores: {@code f(scores, vectors, visible, keyScales, before)}.
   *
   * <p>{@code visible} has a bit for each position; the others do not count. {@code before} counts.
   *
   * @param scaled whether scores are multiplied with scales first
   * @param softcap of these then, or 0
   */
  MachineCode largest(boolean scaled, float softcap) {
    if (softcap != 0) {
      exponentialConstants();
      softcapConstants(softcap);
    }
    broadcast(MAX, R8D);
    Label next = here();
    visible();
    score(scaled, softcap);
    masked(K1, MAX, to -> vmaxps(to, MAX, SCORE));
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
   * @param softcap of scores, or 0
   */
  MachineCode exponentials(boolean scaled, float softcap) {
    exponentialConstants();
    if (softcap != 0) {
      softcapConstants(softcap);
    }
    mov(R11, parameter(7)); // the total
    mov(R10, parameter(8)); // max
    broadcast(MAX, R10D);
    vmovups(TOTAL, at(R11));
    Label next = here();
    visible();
    score(scaled, softcap);
    vsubps(X, SCORE, MAX);
    vmaxps(X, LOWEST, X); // NaN stays
    exponential();
    // visible, and not of -infinity
    compare(K2.masked(K1), SCORE, MINUS_INFINITY, Comparison.NOT_EQUAL);
    zeroing(K2, P, to -> vmulps(to, P, SHIFTED));
    vaddps(TOTAL, TOTAL, P);
    if (scaled) {
      vmovups(SHIFTED, at(R8));
      zeroing(K2, P, to -> vmulps(to, P, SHIFTED)); // a hidden scale may be NaN
      add(R8, vectorBytes());
    }
    vmovups(at(R9), P);
    add(R9, vectorBytes());
    next(next, scaled);
    vmovups(at(R11), TOTAL);
    return end();
  }

  /** Makes a mask of the next positions that are visible. */
  private void visible() {
    maskOf(K1, EDX);
    shr(RDX, lanes());
  }

  private void softcapConstants(float softcap) {
    fillFloats(CAP, softcap);
    fillFloats(TWICE_CAP, 2 * softcap);
    fillFloats(FACTOR, -2 / softcap);
  }

  private void score(boolean scaled, float softcap) {
    vmovups(SCORE, at(RDI));
    if (scaled) {
      vmulps(SCORE, SCORE, at(RCX));
    }
    if (softcap != 0) { // as RowKernel's
      vmulps(X, SCORE, FACTOR);
      sigmoidOfNegative();
      vmulps(P, P, TWICE_CAP);
      vsubps(SCORE, P, CAP);
    }
  }

  /** Goes on with the next scores, while there are any. */
  private void next(Label start, boolean scaled) {
    if (scaled) {
      add(RCX, vectorBytes());
    }
    nextVector(start);
  }

  /** By what earlier sums are multiplied where a larger score has come: {@code f(before, max)}. */
  MachineCode factor() {
    exponentialConstants();
    broadcast(X, EDI);
    broadcast(MAX, ESI);
    vsubps(X, X, MAX);
    vmaxps(X, LOWEST, X);
    exponential();
    vmulps(X, P, SHIFTED);
    vmovd(EAX, X.xmm());
    return end();
  }

  /** Multiplies numbers in place: {@code f(at, vectors, factor)}. */
  MachineCode scaling() {
    broadcast(MAX, EDX);
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
    add(RCX, vectorBytes());
    nextVector(next);
    add(RDX, vectorBytes());
    add(R8, -1);
    cmp(R8, 0);
    jg(row);
    reduce(this::vpord, FLAGS, X);
    vmovaps(X, FLAGS);
    vmovd(EAX, X.xmm());
    return end();
  }
}
