package org.eellm.kernel.product;

import static org.eellm.kernel.vector.NativeNumbers.MEMORY;
import static org.eellm.kernel.vector.NativeNumbers.WIDTH;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.eellm.kernel.machine.RowFunctions;
import org.eellm.kernel.vector.Bfloat16Rounding;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.PackedMatrix;

/** Residuals, biases, products and activation functions on a few numbers of a row. */
public final class RowArithmetic {
  private static final long BLOCK_BYTES = 4L * PackedMatrix.BLOCK;

  private RowArithmetic() {}

  /** Copies float32 numbers. */
  public static void copy(long x, long to, int count) {
    MemorySegment.copy(MEMORY, x, MEMORY, to, 4L * count);
  }

  /** Reads float32 numbers into an array. */
  public static void read(long x, float[] to, int at, int count) {
    MemorySegment.copy(MEMORY, ValueLayout.JAVA_FLOAT_UNALIGNED, x, to, at, count);
  }

  /** Writes float32 numbers of an array. */
  public static void write(float[] x, int from, long to, int count) {
    MemorySegment.copy(x, from, MEMORY, ValueLayout.JAVA_FLOAT_UNALIGNED, to, count);
  }

  /** Stores numbers of an array as bfloat16, as {@link Bfloat16Rounding#store} does. */
  public static void storeAsBfloat16(FloatArray x, int from, int count, long to) {
    if (RowFunctions.work()) {
      RowFunctions.store(x, from, count, to);
    } else {
      Bfloat16Rounding.store(x.values(), from, count, to);
    }
  }

  /** The same of numbers in memory. */
  public static void storeAsBfloat16(long x, int count, long to) {
    if (RowFunctions.work()) {
      RowFunctions.store(x, count, to);
    } else {
      Bfloat16Rounding.store(x, count, to);
    }
  }

  /** The scalar product of float32 numbers and an array; its sum has a fixed order. */
  public static float dot(long x, FloatArray y, int count) {
    int whole = count - count % WIDTH;
    float sum =
        RowFunctions.work()
            ? RowFunctions.product(x, y, whole)
            : VectorRows.product(x, y.values(), whole);
    for (int i = whole; i < count; i++) {
      sum = Math.fma(NativeNumbers.getFloat(x + 4L * i), y.values()[i], sum);
    }
    return sum;
  }

  /** The scalar product of float32 numbers and bfloat16 ones; its sum has a fixed order. */
  public static float productWithBfloat16(long x, long y, int count) {
    int whole = RowFunctions.work() ? count - count % WIDTH : 0;
    float sum = whole > 0 ? RowFunctions.productWithBfloat16(x, y, whole) : 0;
    for (int i = whole; i < count; i++) {
      sum = Math.fma(NativeNumbers.getFloat(x + 4L * i), NativeNumbers.get(y + 2L * i), sum);
    }
    return sum;
  }

  /** Adds float32 numbers to others. */
  public static void add(long x, long to, int count) {
    if (RowFunctions.work()) {
      RowFunctions.add(x, to, count);
    } else {
      VectorRows.add(x, to, count);
    }
  }

  /** Adds float32 numbers of an array to others. */
  public static void add(FloatArray x, int from, long to, int count) {
    if (RowFunctions.work()) {
      RowFunctions.add(x, from, to, count);
    } else {
      VectorRows.add(x.values(), from, to, count);
    }
  }

  // What follows takes blocks of outputs, which are a multiple of all widths. There is room for
  // whole blocks, though fewer numbers may be asked for.

  /**
   * {@code silu(gate) * up}.
   *
   * @param blocks address of a block of gates, one of what they multiply, and so on
   * @param count how many numbers to write, at least one
   */
  public static void swiGlu(long blocks, int count, FloatArray out) {
    if (RowFunctions.work()) {
      RowFunctions.swiGlu(blocks, blocks + BLOCK_BYTES, count, out);
      return;
    }
    for (int i = 0; i < count; i += PackedMatrix.BLOCK) {
      long gate = blocks + 8L * i;
      VectorRows.swiGlu(gate, gate + BLOCK_BYTES, out.values(), i);
    }
  }

  /**
   * {@code x / 2 (1 + erf(x / sqrt(2)))}, with the error function within 1.5e-7 (Abramowitz and
   * Stegun, Handbook of Mathematical Functions, 7.1.26).
   */
  public static void gelu(long x, int count, FloatArray out) {
    if (RowFunctions.work()) {
      RowFunctions.gelu(x, count, out);
      return;
    }
    for (int i = 0; i < count; i += PackedMatrix.BLOCK) {
      VectorRows.gelu(x + 4L * i, out.values(), i);
    }
  }

  /** {@code x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))}. */
  public static void geluTanh(long x, int count, FloatArray out) {
    if (RowFunctions.work()) {
      RowFunctions.geluTanh(x, count, out);
      return;
    }
    for (int i = 0; i < count; i += PackedMatrix.BLOCK) {
      VectorRows.geluTanh(x + 4L * i, out.values(), i);
    }
  }
}
