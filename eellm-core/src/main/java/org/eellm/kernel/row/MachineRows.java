package org.eellm.kernel.row;

import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.function.IntFunction;
import java.util.function.Supplier;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.machine.ExecutableMemory;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.IntArray;
import org.eellm.kernel.vector.NativeFunction;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.vector.WeightedIds;
import org.eellm.kernel.weight.PackedMatrix;

/**
 * {@link RowCode}, {@link ActivationCode}, {@link RoundingCode}, {@link LogitCode} and {@link
 * SamplingCode} in executable memory.
 */
public final class MachineRows implements RowKernel {
  private static final int LANES = NativeNumbers.WIDTH;
  private static final long BLOCK_BYTES = 4L * PackedMatrix.BLOCK;

  enum Name {
    RMS(bits -> new RowCode(bits).rms()),
    ADDITION(bits -> new RowCode(bits).addition()),
    ROTATION(bits -> new RowCode(bits).rotation()),
    ROUNDING(bits -> new RoundingCode(bits).rounding(false)),
    ROUNDING_IN_FLOAT32(bits -> new RoundingCode(bits).rounding(true)),
    ROUNDING_TO_FIRST_HALF(bits -> new RoundingCode(bits).roundingToHalf(0)),
    ROUNDING_TO_SECOND_HALF(bits -> new RoundingCode(bits).roundingToHalf(1)),
    SPREADING(bits -> new RoundingCode(bits).spreading()),
    SWI_GLU(bits -> new ActivationCode(bits).swiGlu()),
    LARGEST(bits -> new LogitCode(bits).largest()),
    PLACE(bits -> new LogitCode(bits).place()),
    SUM_OF_EXPONENTIALS(bits -> new LogitCode(bits).sumOfExponentials()),
    QUANTIZATION(bits -> new RoundingCode(bits).quantization(LEAST, OFFSET)),
    SUM(bits -> new RowCode(bits).sum()),
    PRODUCT(bits -> new RowCode(bits).product()),
    PRODUCT_WITH_BFLOAT16(bits -> new RowCode(bits).productWithBfloat16()),
    SUM_OF_SQUARED_DISTANCES(bits -> new RowCode(bits).sumOfSquaredDistances()),
    SHIFTED(bits -> new RowCode(bits).shifted()),
    MULTIPLICATION(bits -> new RowCode(bits).multiplication()),
    GELU(bits -> new ActivationCode(bits).gelu()),
    GELU_TANH(bits -> new ActivationCode(bits).geluTanh()),
    GE_GLU_TANH(bits -> new ActivationCode(bits).geGluTanh()),
    SOFTCAP(bits -> new ActivationCode(bits).softcap()),
    SCALING(bits -> new SamplingCode(bits).scaling()),
    POWERS_OF_TWO(bits -> new SamplingCode(bits).powersOfTwo()),
    CALLS(_ -> new CallCode().running()),
    MARKING(bits -> new SamplingCode(bits).marking()); // the last: with AVX2 Java marks

    private final IntFunction<MachineCode> code;

    Name(IntFunction<MachineCode> code) {
      this.code = code;
    }

    MachineCode code(int vectorBits) {
      return code.apply(vectorBits);
    }

    /** Those for AVX-512, which has vectors of 512 bits, or for AVX2. */
    static List<Name> of(int vectorBits) {
      return Arrays.asList(values())
          .subList(0, vectorBits == 512 ? values().length : MARKING.ordinal());
    }
  }

  /** By name; none where they cannot be used. */
  private static final NativeFunction[] FUNCTIONS = load(NativeNumbers.BYTES * Byte.SIZE);

  MachineRows() {}

  private static NativeFunction[] load(int vectorBits) {
    if (vectorBits < 256) {
      return new NativeFunction[0];
    }
    return ExecutableMemory.store(
            Name.of(vectorBits).stream()
                .<Supplier<MachineCode>>map(name -> () -> name.code(vectorBits))
                .toList())
        .orElse(new NativeFunction[0]);
  }

  /** Whether the processor takes the code, and the system gave memory for it. */
  static boolean areLoaded() {
    return FUNCTIONS.length > 0;
  }

  private static NativeFunction function(Name name) {
    return FUNCTIONS[name.ordinal()];
  }

  static NativeFunction calls() {
    return function(Name.CALLS);
  }

  private static void requireNotNegative(int count) {
    if (count < 0) {
      throw new IndexOutOfBoundsException(count + " numbers");
    }
  }

  private static void requirePositive(int count) {
    if (count <= 0) {
      throw new IndexOutOfBoundsException(count + " numbers; at least one is needed");
    }
  }

  private static long bits(float number) {
    return Float.floatToRawIntBits(number);
  }

  private static float number(long bits) {
    return Float.intBitsToFloat((int) bits);
  }

  @Override
  public void rms(long x, FloatArray weight, double epsilon, FloatArray out) {
    int count = weight.length();
    Objects.checkFromIndexSize(0, count, out.length());
    long bits = Double.doubleToRawLongBits(epsilon);
    function(Name.RMS).callWithArrays(weight, out, out, count, x, bits, bits(count));
  }

  @Override
  public void layer(long x, FloatArray weight, FloatArray bias, double epsilon, FloatArray out) {
    int count = weight.length();
    Objects.checkFromIndexSize(0, count, bias.length());
    Objects.checkFromIndexSize(0, count, out.length());
    int vectors = count / LANES;
    float mean = number(function(Name.SUM).call(x, vectors, 0, 0)) / count;
    float squares = number(function(Name.SUM_OF_SQUARED_DISTANCES).call(x, vectors, bits(mean), 0));
    float factor = (float) (1 / Math.sqrt(squares / count + epsilon));
    function(Name.SHIFTED).callWithArrays(weight, bias, out, count, x, bits(mean), bits(factor));
  }

  @Override
  public void add(long x, long to, int count) {
    requireNotNegative(count);
    function(Name.ADDITION).call(x, x, x, count, 0, to, 0, 0);
  }

  @Override
  public void add(FloatArray x, int from, long to, int count) {
    Objects.checkFromIndexSize(from, count, x.length());
    function(Name.ADDITION).callWithArrays(x, x, x, count, 4L * from, to, 0);
  }

  @Override
  public void multiply(long x, int count, float factor) {
    requireNotNegative(count);
    function(Name.MULTIPLICATION).call(x, x, count, bits(factor));
  }

  @Override
  public void store(FloatArray x, int from, int count, int bytes, long to) {
    Objects.checkFromIndexSize(from, count, x.length());
    rounding(bytes).callWithArrays(x, x, x, count, 4L * from, to, 0);
  }

  @Override
  public void store(long x, int count, int bytes, long to) {
    rounding(bytes).call(x, x, x, count, 0, to, 0, 0);
  }

  private static NativeFunction rounding(int bytes) {
    return function(bytes == Short.BYTES ? Name.ROUNDING : Name.ROUNDING_IN_FLOAT32);
  }

  @Override
  public void quantize(FloatArray x, int from, int group, int count, long to) {
    Objects.checkFromIndexSize(from, count * group, x.length());
    long bytes = group + 4L * MORE_UNITS;
    for (int i = 0; i < count; i++) {
      function(Name.QUANTIZATION)
          .callWithArrays(x, x, x, group, 4L * (from + i * group), to + i * bytes, 0);
    }
  }

  @Override
  public float product(long x, FloatArray y, int count) {
    Objects.checkFromIndexSize(0, count, y.length());
    return number(function(Name.PRODUCT).callWithArrays(y, y, y, count, x, 0, 0));
  }

  @Override
  public float productWithBfloat16(long x, long y, int count) {
    return count == 0
        ? 0
        : number(function(Name.PRODUCT_WITH_BFLOAT16).call(x, y, count / LANES, 0));
  }

  @Override
  public void swiGlu(long blocks, int count, FloatArray out) {
    Objects.checkFromIndexSize(0, count, out.length());
    function(Name.SWI_GLU).callWithArrays(out, out, out, count, blocks, blocks + BLOCK_BYTES, 0);
  }

  @Override
  public void gelu(long x, int count, FloatArray out) {
    Objects.checkFromIndexSize(0, count, out.length());
    function(Name.GELU).callWithArrays(out, out, out, count, x, 0, 0);
  }

  @Override
  public void geluTanh(long x, int count, FloatArray out) {
    Objects.checkFromIndexSize(0, count, out.length());
    function(Name.GELU_TANH).callWithArrays(out, out, out, count, x, 0, 0);
  }

  @Override
  public void geGluTanh(long blocks, int count, FloatArray out) {
    Objects.checkFromIndexSize(0, count, out.length());
    function(Name.GE_GLU_TANH)
        .callWithArrays(out, out, out, count, blocks, blocks + BLOCK_BYTES, 0);
  }

  @Override
  public void softcap(long x, int count, float cap) {
    requirePositive(count);
    function(Name.SOFTCAP).call(x, Math.ceilDiv(count, LANES), bits(cap), bits(-2 / cap));
  }

  @Override
  public float max(long x, int count) {
    return number(function(Name.LARGEST).call(x, count / LANES, 0, 0));
  }

  @Override
  public int place(float value, long x, int count) {
    return (int) function(Name.PLACE).call(x, count / LANES, bits(value), 0);
  }

  @Override
  public float sumOfExponentials(long x, int count, float max, float factor) {
    return number(
        function(Name.SUM_OF_EXPONENTIALS).call(x, count / LANES, bits(max), bits(factor)));
  }

  @Override
  public int scale(FloatArray x, int count, float factor) {
    requirePositive(count);
    int vectors = Math.ceilDiv(count, LANES);
    Arrays.fill(x.values(), count, vectors * LANES, Float.NEGATIVE_INFINITY);
    return (int) function(Name.SCALING).callWithArrays(x, x, x, vectors, bits(factor), 0, 0);
  }

  @Override
  public void powersOfTwo(FloatArray powers, int count, FloatArray out) {
    requirePositive(count);
    int vectors = Math.ceilDiv(count, LANES);
    Objects.checkFromIndexSize(0, vectors * LANES, powers.length());
    Objects.checkFromIndexSize(0, vectors * LANES, out.length());
    function(Name.POWERS_OF_TWO).callWithArrays(powers, out, out, 2L * vectors, 0, 0, 0);
  }

  @Override
  public void mark(WeightedIds list, int from, int count, long key, float bound, IntArray marks) {
    requirePositive(count);
    Objects.checkFromIndexSize(from, count, list.length());
    Objects.checkFromIndexSize(0, count / Integer.SIZE, marks.length());
    if (FUNCTIONS.length <= Name.MARKING.ordinal()) {
      RowKernel.java().mark(list, from, count, key, bound, marks);
      return;
    }
    function(Name.MARKING)
        .callWithArrays(
            list.ids().memory(),
            list.powers().memory(),
            marks.memory(),
            count / LANES,
            (long) Integer.BYTES * from,
            key,
            bits(bound));
  }

  // Steps of attention, in its list of calls.

  /**
   * Rotates pairs (a, b) of numbers, at least one: to (a cos - b sin, b cos + a sin).
   *
   * @param first address of the first of pairs, which lie one after the other
   */
  public static void rotate(
      CallList calls, long first, long second, long cosines, long sines, int count) {
    calls.add(function(Name.ROTATION), first, cosines, sines, count, second, 0, 0, 0);
  }

  /** Stores numbers, at least one, as bfloat16; may be where they were. */
  public static void store(CallList calls, long x, int count, long to) {
    calls.add(function(Name.ROUNDING), x, x, x, count, 0, to, 0, 0);
  }

  /** Stores numbers, at least one, as bfloat16, each in one half of 32 bits. */
  public static void storeHalves(CallList calls, long x, int count, int which, long to) {
    Name name = which == 0 ? Name.ROUNDING_TO_FIRST_HALF : Name.ROUNDING_TO_SECOND_HALF;
    calls.add(function(name), x, to, count, 0, 0, 0, 0, 0);
  }

  /** Writes each 32 bits, at least once, into one of 16 places, from cache line to cache line. */
  public static void spread(CallList calls, long x, int count, int place, long to) {
    int lane = place % LANES;
    long vector = to + 4L * (place - lane);
    calls.add(function(Name.SPREADING), x, 1L << lane, count, vector, 0, 0, 0, 0);
  }

  /** Writes numbers, at least one, times a factor. */
  public static void multiply(CallList calls, long x, int count, float factor, long to) {
    calls.add(function(Name.MULTIPLICATION), x, to, count, bits(factor), 0, 0, 0, 0);
  }
}
