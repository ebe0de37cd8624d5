package org.eellm.kernel.row;

import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.IntArray;
import org.eellm.kernel.vector.WeightedIds;

/**
 * Arithmetic on the numbers of a row, by machine code where the processor takes it. All give the
 * same numbers to the bit; of 0 and -0, the larger may be either. Sums have a fixed order.
 *
 * <p>"Whole vectors" are a multiple of {@link org.eellm.kernel.vector.NativeNumbers#WIDTH}, and not
 * 0.
 */
public sealed interface RowKernel permits MachineRows, JavaRows {
  /** In groups of 8 bits, numbers below become 0. */
  float LEAST = 1e-30f;

  /** Of weights of 4 bits. */
  int OFFSET = 8;

  /** Numbers of 32 bits in a group of 8 bits beside its numbers. */
  int MORE_UNITS = 2;

  /** As a float, 2 to the power of this is 0; lower ones count as this. */
  double LOWEST_POWER = -160;

  static RowKernel chosen() {
    return Choice.KERNEL;
  }

  static RowKernel java() {
    return Choice.JAVA;
  }

  static boolean isMachineCode() {
    return MachineRows.areLoaded();
  }

  /** Made when it is first asked for. */
  final class Choice {
    private static final RowKernel JAVA = new JavaRows();
    private static final RowKernel KERNEL = MachineRows.areLoaded() ? new MachineRows() : JAVA;

    private Choice() {}
  }

  /** {@code x / sqrt(mean(x^2) + epsilon) weight}, of whole vectors. */
  void rms(long x, FloatArray weight, double epsilon, FloatArray out);

  /** {@code (x - mean) / sqrt(variance + epsilon) weight + bias}, of whole vectors. */
  void layer(long x, FloatArray weight, FloatArray bias, double epsilon, FloatArray out);

  /** Adds float32 numbers to others. */
  void add(long x, long to, int count);

  /** Adds float32 numbers of an array to others. */
  void add(FloatArray x, int from, long to, int count);

  /** Multiplies float32 numbers in place. */
  void multiply(long x, int count, float factor);

  /**
   * Stores numbers of an array, rounded to bfloat16.
   *
   * @param bytes of each: 2, or 4 in float32
   */
  void store(FloatArray x, int from, int count, int bytes, long to);

  /** Likewise numbers in memory. */
  void store(long x, int count, int bytes, long to);

  /**
   * Rounds groups of numbers to 8 bits: the negative sum times {@link #OFFSET}, the numbers, and
   * their scale, NaN where one is NaN or infinite.
   *
   * @param group numbers in each, a multiple of 32
   */
  void quantize(FloatArray x, int from, int group, int count, long to);

  /** The scalar product with an array, of whole vectors or none. */
  float product(long x, FloatArray y, int count);

  /** The scalar product with bfloat16 numbers, of whole vectors or none. */
  float productWithBfloat16(long x, long y, int count);

  /**
   * {@code silu(gate) up}.
   *
   * @param blocks address of a block of gates, one of what they multiply, and so on
   * @param count at least one; there is room for whole blocks
   */
  void swiGlu(long blocks, int count, FloatArray out);

  /**
   * {@code x / 2 (1 + erf(x / sqrt(2)))}, with the error function within 1.5e-7 (Abramowitz and
   * Stegun, Handbook of Mathematical Functions, 7.1.26); counts as {@link #swiGlu} does.
   */
  void gelu(long x, int count, FloatArray out);

  /** {@code x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))}; counts as {@link #swiGlu} does. */
  void geluTanh(long x, int count, FloatArray out);

  /** {@code gelu(gate) up} with the gelu of {@link #geluTanh}; parameters as of {@link #swiGlu}. */
  void geGluTanh(long blocks, int count, FloatArray out);

  /**
   * {@code cap tanh(x / cap)}, in place, within 2e-7 of the cap. There is room for whole vectors,
   * and what is behind the last number may change.
   */
  void softcap(long x, int count, float cap);

  /** The largest of whole vectors; NaN if there is one. */
  float max(long x, int count);

  /** The first place of a value in whole vectors, or -1. */
  int place(float value, long x, int count);

  /** The sum of {@code exp((x - max) factor)}, of whole vectors. */
  float sumOfExponentials(long x, int count, float max, float factor);

  /**
   * {@code factor (x - largest)}, in place. There is room for a multiple of 16; what is behind the
   * last that counts may change, here and in what follows.
   *
   * @return the largest one's place, the first among equals; -1 if none is finite and the largest
   */
  int scale(FloatArray x, int count, float factor);

  /** 2 to the power of each. */
  void powersOfTwo(FloatArray powers, int count, FloatArray out);

  /**
   * Marks ids whose random numbers begin with so many zeros that these and a power are more than a
   * bound.
   *
   * @param count a multiple of 32, and not 0
   * @param marks a bit for each id
   */
  void mark(WeightedIds list, int from, int count, long key, float bound, IntArray marks);
}
