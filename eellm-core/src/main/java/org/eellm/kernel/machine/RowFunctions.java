package org.eellm.kernel.machine;

import java.util.Arrays;
import java.util.Objects;
import java.util.function.Supplier;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.IntArray;
import org.eellm.kernel.vector.NativeFunction;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.vector.WeightedIds;

/**
 * {@link RowCode}, {@link ActivationCode}, {@link RoundingCode}, {@link LogitCode} and {@link
 * SamplingCode} in executable memory. What each function gives is what the Vector API's kernel
 * gives, or Java's loop, to the bit; of 0 and -0, the larger may be either.
 */
public final class RowFunctions {
  private static final int LANES = NativeNumbers.MACHINE_CODE_WIDTH;

  /** In groups of 8 bits, numbers below become 0. */
  public static final float LEAST = 1e-30f;

  /** Of weights of 4 bits. */
  public static final int OFFSET = 8;

  /** As a float, 2 to the power of this is 0; lower ones count as this. */
  public static final double LOWEST_POWER = -160;

  enum Name {
    RMS(() -> new RowCode().rms()),
    ADDITION(() -> new RowCode().addition()),
    ROTATION(() -> new RowCode().rotation()),
    ROUNDING(() -> new RoundingCode().rounding()),
    ROUNDING_TO_FIRST_HALF(() -> new RoundingCode().roundingToHalf(0)),
    ROUNDING_TO_SECOND_HALF(() -> new RoundingCode().roundingToHalf(1)),
    SPREADING(() -> new RoundingCode().spreading()),
    SWI_GLU(() -> new ActivationCode().swiGlu()),
    LARGEST(() -> new LogitCode().largest()),
    PLACE(() -> new LogitCode().place()),
    SUM_OF_EXPONENTIALS(() -> new LogitCode().sumOfExponentials()),
    QUANTIZATION(() -> new RoundingCode().quantization(LEAST, OFFSET)),
    SUM(() -> new RowCode().sum()),
    PRODUCT(() -> new RowCode().product()),
    PRODUCT_WITH_BFLOAT16(() -> new RowCode().productWithBfloat16()),
    SUM_OF_SQUARED_DISTANCES(() -> new RowCode().sumOfSquaredDistances()),
    SHIFTED(() -> new RowCode().shifted()),
    ADDITION_OF_ARRAY(() -> new RowCode().additionOfArray()),
    MULTIPLICATION(() -> new RowCode().multiplication()),
    GELU(() -> new ActivationCode().gelu()),
    GELU_TANH(() -> new ActivationCode().geluTanh()),
    SCALING(() -> new SamplingCode().scaling()),
    POWERS_OF_TWO(() -> new SamplingCode().powersOfTwo()),
    MARKING(() -> new SamplingCode().marking()),
    CALLS(() -> new CallCode().running());

    private final Supplier<MachineCode> code;

    Name(Supplier<MachineCode> code) {
      this.code = code;
    }

    MachineCode code() {
      return code.get();
    }
  }

  /** By name; none where they cannot be used. */
  private static final NativeFunction[] FUNCTIONS = load();

  private RowFunctions() {}

  private static NativeFunction[] load() {
    return NativeNumbers.WIDTH == LANES
        ? ExecutableMemory.store(Arrays.stream(Name.values()).map(name -> name.code).toList())
            .orElse(new NativeFunction[0])
        : new NativeFunction[0];
  }

  private static NativeFunction function(Name name) {
    return FUNCTIONS[name.ordinal()];
  }

  /** Whether the processor takes the code, and the system gives memory for it. */
  public static boolean work() {
    return FUNCTIONS.length > 0;
  }

  /** What runs a {@link CallList}. */
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

  /**
   * {@code x / sqrt(mean(x^2) + epsilon) weight}.
   *
   * @param weight a multiple of 16 numbers, and not 0
   */
  public static void rms(long x, FloatArray weight, double epsilon, FloatArray out) {
    int count = weight.length();
    Objects.checkFromIndexSize(0, count, out.length());
    long bits = Double.doubleToRawLongBits(epsilon);
    function(Name.RMS).callWithArrays(weight, out, out, count, x, bits, bits(count));
  }

  /** Adds float32 numbers to others. */
  public static void add(long x, long to, int count) {
    requireNotNegative(count);
    function(Name.ADDITION).call(x, to, count, 0);
  }

  /**
   * Turns pairs (a, b) of numbers, at least one: to (a cos - b sin, b cos + a sin).
   *
   * @param first address of the first of pairs, which lie one after the other
   * @param second the same of the second
   */
  public static void rotate(
      CallList calls, long first, long second, long cosines, long sines, int count) {
    calls.add(function(Name.ROTATION), first, cosines, sines, count, second, 0, 0, 0);
  }

  /** Stores numbers of an array as bfloat16. */
  public static void store(FloatArray x, int from, int count, long to) {
    Objects.checkFromIndexSize(from, count, x.length());
    function(Name.ROUNDING).callWithArrays(x, x, x, count, 4L * from, to, 0);
  }

  /** Stores numbers, at least one, as bfloat16; may be where they were. */
  public static void store(CallList calls, long x, int count, long to) {
    calls.add(function(Name.ROUNDING), x, x, x, count, 0, to, 0, 0);
  }

  /** Stores numbers of memory, at least one, as bfloat16. */
  public static void store(long x, int count, long to) {
    function(Name.ROUNDING).call(x, x, x, count, 0, to, 0, 0);
  }

  /** Stores numbers, at least one, as bfloat16, each in one half of 32 bits. */
  public static void storeHalves(CallList calls, long x, int count, int which, long to) {
    Name name = which == 0 ? Name.ROUNDING_TO_FIRST_HALF : Name.ROUNDING_TO_SECOND_HALF;
    calls.add(function(name), x, to, count, 0, 0, 0, 0, 0);
  }

  /** Writes each 32 bits, at least once, into one lane of a vector of their own. */
  public static void spread(CallList calls, long x, int count, int lane, long to) {
    calls.add(function(Name.SPREADING), x, 1L << lane, count, to, 0, 0, 0, 0);
  }

  /**
   * {@code silu(gate) up} of blocks of gates and of what they multiply in turn.
   *
   * @param up address behind the first block of gates, whole vectors
   * @param count at least one
   */
  public static void swiGlu(long gate, long up, int count, FloatArray out) {
    Objects.checkFromIndexSize(0, count, out.length());
    function(Name.SWI_GLU).callWithArrays(out, out, out, count, gate, up, 0);
  }

  /**
   * The largest; NaN if there is one.
   *
   * @param count a multiple of 16, and not 0
   */
  public static float max(long x, int count) {
    return number(function(Name.LARGEST).call(x, count / LANES, 0, 0));
  }

  /**
   * The first place of a value, or -1.
   *
   * @param count a multiple of 16, and not 0
   */
  public static int place(float value, long x, int count) {
    return (int) function(Name.PLACE).call(x, count / LANES, bits(value), 0);
  }

  /**
   * The sum of {@code exp((x - max) factor)}.
   *
   * @param count a multiple of 16, and not 0
   */
  public static float sumOfExponentials(long x, int count, float max, float factor) {
    return number(
        function(Name.SUM_OF_EXPONENTIALS).call(x, count / LANES, bits(max), bits(factor)));
  }

  /**
   * Rounds a group of numbers to 8 bits.
   *
   * @param count a multiple of 16
   * @param to address of the negative sum times {@link #OFFSET}, the bytes, and the scale
   */
  public static void quantize(FloatArray x, int from, int count, long to) {
    Objects.checkFromIndexSize(from, count, x.length());
    function(Name.QUANTIZATION).callWithArrays(x, x, x, count, 4L * from, to, 0);
  }

  /**
   * The sum of float32 numbers.
   *
   * @param count a multiple of 16, and not 0
   */
  public static float sum(long x, int count) {
    return number(function(Name.SUM).call(x, count / LANES, 0, 0));
  }

  /**
   * The scalar product of float32 numbers and an array.
   *
   * @param count a multiple of 16
   */
  public static float product(long x, FloatArray y, int count) {
    Objects.checkFromIndexSize(0, count, y.length());
    return number(function(Name.PRODUCT).callWithArrays(y, y, y, count, x, 0, 0));
  }

  /**
   * The scalar product of float32 and bfloat16 numbers.
   *
   * @param count a multiple of 16, and not 0
   */
  public static float productWithBfloat16(long x, long y, int count) {
    return number(function(Name.PRODUCT_WITH_BFLOAT16).call(x, y, count / LANES, 0));
  }

  /**
   * The sum of squared distances from a mean.
   *
   * @param count a multiple of 16, and not 0
   */
  public static float sumOfSquaredDistances(long x, int count, float mean) {
    return number(function(Name.SUM_OF_SQUARED_DISTANCES).call(x, count / LANES, bits(mean), 0));
  }

  /** {@code (x - mean) factor weight + bias}. */
  public static void shifted(
      long x, float mean, float factor, FloatArray weight, FloatArray bias, FloatArray out) {
    Objects.checkFromIndexSize(0, weight.length(), bias.length());
    Objects.checkFromIndexSize(0, weight.length(), out.length());
    function(Name.SHIFTED)
        .callWithArrays(weight, bias, out, weight.length(), x, bits(mean), bits(factor));
  }

  /** Adds numbers of an array to others. */
  public static void add(FloatArray x, int from, long to, int count) {
    Objects.checkFromIndexSize(from, count, x.length());
    function(Name.ADDITION_OF_ARRAY).callWithArrays(x, x, x, count, 4L * from, to, 0);
  }

  /** Writes numbers, at least one, times a factor. */
  public static void multiply(CallList calls, long x, int count, float factor, long to) {
    calls.add(function(Name.MULTIPLICATION), x, to, count, bits(factor), 0, 0, 0, 0);
  }

  /** GELU, of at least one number. */
  public static void gelu(long x, int count, FloatArray out) {
    Objects.checkFromIndexSize(0, count, out.length());
    function(Name.GELU).callWithArrays(out, out, out, count, x, 0, 0);
  }

  /** GELU by the hyperbolic tangent, of at least one number. */
  public static void geluTanh(long x, int count, FloatArray out) {
    Objects.checkFromIndexSize(0, count, out.length());
    function(Name.GELU_TANH).callWithArrays(out, out, out, count, x, 0, 0);
  }

  /**
   * {@code factor (x - largest)}, in place.
   *
   * @param count a multiple of 16, and not 0
   * @return the largest one's place, the first among equals
   */
  public static int scale(FloatArray x, int count, float factor) {
    requirePositive(count);
    Objects.checkFromIndexSize(0, count, x.length());
    return (int) function(Name.SCALING).callWithArrays(x, x, x, count / LANES, bits(factor), 0, 0);
  }

  /**
   * 2 to the power of each.
   *
   * @param count a multiple of 16, and not 0
   */
  public static void powersOfTwo(FloatArray powers, int count, FloatArray out) {
    requirePositive(count);
    Objects.checkFromIndexSize(0, count, powers.length());
    Objects.checkFromIndexSize(0, count, out.length());
    function(Name.POWERS_OF_TWO).callWithArrays(powers, out, out, 2L * count / LANES, 0, 0, 0);
  }

  /**
   * Marks ids whose random numbers begin with so many zeros that these and a power are more than a
   * bound.
   *
   * @param count a multiple of 32, and not 0
   * @param marks a bit for each id
   */
  public static void mark(
      WeightedIds list, int from, int count, long key, float bound, IntArray marks) {
    requirePositive(count);
    Objects.checkFromIndexSize(from, count, list.length());
    Objects.checkFromIndexSize(0, count / Integer.SIZE, marks.length());
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
}
