package org.eellm.kernel;

import static org.eellm.kernel.vector.NativeNumbers.WIDTH;

import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.NativeNumbers;

/** Figures of logits in a row, float32. */
public final class LogitArithmetic {
  private LogitArithmetic() {}

  /** The largest; NaN if there is one. */
  public static float max(long row, int count) {
    int whole = count - count % WIDTH;
    float max = whole == 0 ? Float.NEGATIVE_INFINITY : RowKernel.chosen().max(row, whole);
    for (int i = whole; i < count; i++) {
      max = Math.max(max, NativeNumbers.getFloat(row + 4L * i));
    }
    return max;
  }

  /** The first place of a value; 0 if there is none, as of NaN. */
  public static int place(float value, long row, int count) {
    int whole = count - count % WIDTH;
    int place = whole == 0 ? -1 : RowKernel.chosen().place(value, row, whole);
    for (int i = whole; place < 0 && i < count; i++) {
      place = NativeNumbers.getFloat(row + 4L * i) == value ? i : place;
    }
    return Math.max(place, 0);
  }

  /** The sum of {@code exp((z - max) factor)}, in a fixed order. */
  public static float sumOfExponentials(long row, int count, float max, float factor) {
    int whole = count - count % WIDTH;
    float sum = whole == 0 ? 0 : RowKernel.chosen().sumOfExponentials(row, whole, max, factor);
    for (int i = whole; i < count; i++) {
      sum += (float) Math.exp((NativeNumbers.getFloat(row + 4L * i) - max) * factor);
    }
    return sum;
  }
}
