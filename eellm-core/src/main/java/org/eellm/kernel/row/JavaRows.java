package org.eellm.kernel.row;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static org.eellm.kernel.vector.NativeNumbers.MEMORY;
import static org.eellm.kernel.vector.NativeNumbers.WIDTH;

import org.eellm.kernel.vector.Exponential;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.IntArray;
import org.eellm.kernel.vector.LaneSum;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.vector.SplitMix;
import org.eellm.kernel.vector.WeightedIds;
import org.eellm.kernel.weight.PackedMatrix;

/**
 * In plain Java, number by number, in the order of machine code, which takes {@link
 * NativeNumbers#WIDTH} at once.
 */
final class JavaRows implements RowKernel {
  private static final double LOG_2 = Math.log(2);
  private static final float SQRT_HALF = 0.70710678f;
  private static final float TWICE_SQRT_2_OVER_PI = 2 * 0.79788456f;
  private static final float CUBE = 0.044715f;
  private static final float MOST = 127; // of 8 bits
  private static final float ROUND = 12582912f; // 1.5 * 2^23: what is added to it has no fraction
  private static final int ROUND_BITS = 0x4B400000;

  private static float number(long x, int index) {
    return NativeNumbers.getFloat(x + 4L * index);
  }

  @FunctionalInterface
  private interface Term {
    float addTo(float sum, int index);
  }

  /** A sum in the order of four vectors that take turns. */
  private static float sumByFours(int count, Term term) {
    int fours = count - count % (4 * WIDTH);
    LaneSum sum =
        lane -> {
          float a = sum(lane, fours, 4 * WIDTH, term, 0);
          float b = sum(lane + WIDTH, fours, 4 * WIDTH, term, 0);
          float c = sum(lane + 2 * WIDTH, fours, 4 * WIDTH, term, 0);
          float d = sum(lane + 3 * WIDTH, fours, 4 * WIDTH, term, 0);
          return sum(fours + lane, count, WIDTH, term, a) + b + (c + d);
        };
    return sum.all();
  }

  private static float sumByOne(int count, Term term) {
    LaneSum sum = lane -> sum(lane, count, WIDTH, term, 0);
    return sum.all();
  }

  private static float sum(int first, int end, int step, Term term, float begin) {
    float sum = begin;
    for (int i = first; i < end; i += step) {
      sum = term.addTo(sum, i);
    }
    return sum;
  }

  @Override
  public void rms(long x, FloatArray weight, double epsilon, FloatArray out) {
    int n = weight.length();
    float squares = sumByFours(n, (sum, i) -> Math.fma(number(x, i), number(x, i), sum));
    float factor = (float) (1 / Math.sqrt(squares / n + epsilon));
    for (int i = 0; i < n; i++) {
      out.values()[i] = number(x, i) * factor * weight.values()[i];
    }
  }

  @Override
  public void layer(long x, FloatArray weight, FloatArray bias, double epsilon, FloatArray out) {
    int n = weight.length();
    float mean = sumByOne(n, (sum, i) -> sum + number(x, i)) / n;
    float squares =
        sumByOne(n, (sum, i) -> Math.fma(number(x, i) - mean, number(x, i) - mean, sum));
    float factor = (float) (1 / Math.sqrt(squares / n + epsilon));
    for (int i = 0; i < n; i++) {
      float normalized = (number(x, i) - mean) * factor;
      out.values()[i] = Math.fma(normalized, weight.values()[i], bias.values()[i]);
    }
  }

  @Override
  public float product(long x, FloatArray y, int count) {
    return sumByFours(count, (sum, i) -> Math.fma(number(x, i), y.values()[i], sum));
  }

  @Override
  public float productWithBfloat16(long x, long y, int count) {
    return sumByOne(count, (sum, i) -> Math.fma(NativeNumbers.get(y + 2L * i), number(x, i), sum));
  }

  @Override
  public void add(long x, long to, int count) {
    for (int i = 0; i < count; i++) {
      NativeNumbers.putFloat(number(to, i) + number(x, i), to + 4L * i);
    }
  }

  @Override
  public void add(FloatArray x, int from, long to, int count) {
    for (int i = 0; i < count; i++) {
      NativeNumbers.putFloat(number(to, i) + x.values()[from + i], to + 4L * i);
    }
  }

  @Override
  public void multiply(long x, int count, float factor) {
    for (int i = 0; i < count; i++) {
      NativeNumbers.putFloat(number(x, i) * factor, x + 4L * i);
    }
  }

  @Override
  public void store(FloatArray x, int from, int count, int bytes, long to) {
    for (int i = 0; i < count; i++) {
      store(x.values()[from + i], bytes, to + (long) bytes * i);
    }
  }

  @Override
  public void store(long x, int count, int bytes, long to) {
    for (int i = 0; i < count; i++) {
      store(number(x, i), bytes, to + (long) bytes * i);
    }
  }

  private static void store(float x, int bytes, long to) {
    if (bytes == Short.BYTES) {
      NativeNumbers.put(x, to);
    } else {
      NativeNumbers.putFloat(Float.intBitsToFloat(NativeNumbers.bfloat16(x) << Short.SIZE), to);
    }
  }

  @Override
  public void quantize(FloatArray x, int from, int group, int count, long to) {
    for (int g = 0; g < count; g++) {
      quantize(x.values(), from + g * group, group, to + (long) g * (group + 4 * MORE_UNITS));
    }
  }

  private static void quantize(float[] x, int from, int group, long to) {
    float most = 0;
    for (int i = 0; i < group; i++) {
      most = Math.max(most, Math.abs(x[from + i]));
    }
    float inverse = most < LEAST ? 0 : MOST / most;
    int sum = 0;
    for (int i = 0; i < group; i++) {
      int number = Float.floatToRawIntBits(x[from + i] * inverse + ROUND) - ROUND_BITS;
      sum += number;
      MEMORY.set(JAVA_BYTE, to + Integer.BYTES + i, (byte) number);
    }
    MEMORY.set(JAVA_INT_UNALIGNED, to, -OFFSET * sum);
    float scale = most < LEAST ? 0 : Float.isFinite(most) ? most / MOST : Float.NaN;
    NativeNumbers.putFloat(scale, to + Integer.BYTES + group);
  }

  @Override
  public void swiGlu(long blocks, int count, FloatArray out) {
    for (int i = 0; i < count; i++) {
      float gate = gate(blocks, i);
      out.values()[i] = gate * Exponential.sigmoidOfNegative(-gate) * up(blocks, i);
    }
  }

  @Override
  public void geGluTanh(long blocks, int count, FloatArray out) {
    for (int i = 0; i < count; i++) {
      out.values()[i] = geluTanh(gate(blocks, i)) * up(blocks, i);
    }
  }

  private static float gate(long blocks, int index) {
    return number(blocks, index + index / PackedMatrix.BLOCK * PackedMatrix.BLOCK);
  }

  private static float up(long blocks, int index) {
    return gate(blocks + 4L * PackedMatrix.BLOCK, index);
  }

  @Override
  public void gelu(long x, int count, FloatArray out) {
    for (int i = 0; i < count; i++) {
      out.values()[i] = gelu(number(x, i));
    }
  }

  private static float gelu(float x) {
    float argument = x * SQRT_HALF;
    float size = Math.abs(argument);
    float t = 1 / (size * 0.3275911f + 1);
    float q = 1.061405429f;
    q = Math.fma(q, t, -1.453152027f);
    q = Math.fma(q, t, 1.421413741f);
    q = Math.fma(q, t, -0.284496736f);
    q = Math.fma(q, t, 0.254829592f) * t;
    float positive = 1 - q * Exponential.of(-(size * size));
    float erf = argument < 0 ? -positive : positive;
    return x * 0.5f * (erf + 1);
  }

  @Override
  public void geluTanh(long x, int count, FloatArray out) {
    for (int i = 0; i < count; i++) {
      out.values()[i] = geluTanh(number(x, i));
    }
  }

  /** {@code (1 + tanh(u)) / 2 = sigmoid(2 u)}. */
  private static float geluTanh(float x) {
    return x * Exponential.sigmoidOfNegative(-((x * x * x * CUBE + x) * TWICE_SQRT_2_OVER_PI));
  }

  @Override
  public void softcap(long x, int count, float cap) {
    for (int i = 0; i < count; i++) {
      NativeNumbers.putFloat(Exponential.softcap(number(x, i), cap), x + 4L * i);
    }
  }

  @Override
  public float max(long x, int count) {
    float max = Float.NEGATIVE_INFINITY;
    for (int i = 0; i < count; i++) {
      max = Math.max(max, number(x, i));
    }
    return max;
  }

  @Override
  public int place(float value, long x, int count) {
    for (int i = 0; i < count; i++) {
      if (number(x, i) == value) {
        return i;
      }
    }
    return -1;
  }

  @Override
  public float sumOfExponentials(long x, int count, float max, float factor) {
    return sumByOne(count, (sum, i) -> sum + Exponential.of((number(x, i) - max) * factor));
  }

  @Override
  public int scale(FloatArray row, int count, float factor) {
    float[] x = row.values();
    float largest = Float.NEGATIVE_INFINITY;
    for (int i = 0; i < count; i++) {
      largest = Math.max(largest, x[i]);
    }
    for (int i = 0; i < count; i++) {
      x[i] = (x[i] - largest) * factor;
    }
    int place = 0;
    while (place < count && x[place] != 0) {
      place++;
    }
    return place < count ? place : -1;
  }

  /**
   * Java's second compiler makes vectors of the loop, as it does not of {@link Math#exp}: e to the
   * power of x is the 128th power of that of x / 128, for which a few terms are enough.
   */
  @Override
  public void powersOfTwo(FloatArray powers, int count, FloatArray out) {
    for (int i = 0; i < count; i++) {
      double x = Math.max(powers.values()[i], RowKernel.LOWEST_POWER) * (LOG_2 / 128);
      double power = 1.0 / 362880;
      power = power * x + 1.0 / 40320;
      power = power * x + 1.0 / 5040;
      power = power * x + 1.0 / 720;
      power = power * x + 1.0 / 120;
      power = power * x + 1.0 / 24;
      power = power * x + 1.0 / 6;
      power = power * x + 1.0 / 2;
      power = power * x + 1;
      power = power * x + 1;
      power *= power; // 2
      power *= power;
      power *= power; // 8
      power *= power;
      power *= power; // 32
      power *= power;
      power *= power; // 128
      out.values()[i] = (float) power;
    }
  }

  @Override
  public void mark(WeightedIds list, int from, int count, long key, float bound, IntArray marks) {
    int[] ids = list.ids().values();
    float[] powers = list.powers().values();
    for (int first = 0; first < count; first += Integer.SIZE) {
      int bits = 0;
      for (int i = 0; i < Integer.SIZE; i++) {
        int at = from + first + i;
        int zeros = Long.numberOfLeadingZeros(SplitMix.mixed(key + SplitMix.GOLDEN * ids[at]));
        bits |= zeros + powers[at] > bound ? 1 << i : 0;
      }
      marks.values()[first / Integer.SIZE] = bits;
    }
  }
}
