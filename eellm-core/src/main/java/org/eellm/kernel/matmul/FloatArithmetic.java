package org.eellm.kernel.matmul;

import static org.eellm.kernel.vector.NativeNumbers.MEMORY;
import static org.eellm.kernel.vector.NativeNumbers.WIDTH;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeNumbers;

/** Copies and scalar products of a few float32 numbers. */
public final class FloatArithmetic {
  private FloatArithmetic() {}

  public static void copy(long x, long to, int count) {
    MemorySegment.copy(MEMORY, x, MEMORY, to, 4L * count);
  }

  public static void read(long x, float[] to, int at, int count) {
    MemorySegment.copy(MEMORY, ValueLayout.JAVA_FLOAT_UNALIGNED, x, to, at, count);
  }

  public static void write(float[] x, int from, long to, int count) {
    MemorySegment.copy(x, from, MEMORY, ValueLayout.JAVA_FLOAT_UNALIGNED, to, count);
  }

  /** The scalar product of float32 numbers and an array; its sum has a fixed order. */
  public static float dot(long x, FloatArray y, int count) {
    int whole = count - count % WIDTH;
    float sum = RowKernel.chosen().product(x, y, whole);
    for (int i = whole; i < count; i++) {
      sum = Math.fma(NativeNumbers.getFloat(x + 4L * i), y.values()[i], sum);
    }
    return sum;
  }

  /** The scalar product of float32 numbers and bfloat16 ones; its sum has a fixed order. */
  public static float productWithBfloat16(long x, long y, int count) {
    int whole = count - count % WIDTH;
    float sum = RowKernel.chosen().productWithBfloat16(x, y, whole);
    for (int i = whole; i < count; i++) {
      sum = Math.fma(NativeNumbers.getFloat(x + 4L * i), NativeNumbers.get(y + 2L * i), sum);
    }
    return sum;
  }
}
