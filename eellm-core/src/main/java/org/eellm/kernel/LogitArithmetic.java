package org.eellm.kernel;

import static org.eellm.kernel.vector.NativeNumbers.WIDTH;

import org.eellm.kernel.machine.RowFunctions;
import org.eellm.kernel.product.RowArithmetic;
import org.eellm.kernel.vector.NativeNumbers;

/** Figures of logits in a row, float32. */
public final class LogitArithmetic {
  private LogitArithmetic() {}

  /** The largest; NaN if there is one. */
  public static float max(long row, int count) {
    int whole = count - count % WIDTH;
    if (!RowFunctions.work()) {
      return VectorLogits.max(row, count);
    }
    float max = whole == 0 ? Float.NEGATIVE_INFINITY : RowFunctions.max(row, whole);
    for (int i = whole; i < count; i++) {
      max = Math.max(max, NativeNumbers.getFloat(row + 4L * i));
    }
    return max;
  }

  /** The first place of a value; 0 if there is none, as of NaN. */
  public static int place(float value, long row, int count) {
    if (!RowFunctions.work()) {
      return VectorLogits.place(value, row, count);
    }
    int whole = count - count % WIDTH;
    int place = whole == 0 ? -1 : RowFunctions.place(value, row, whole);
    return place >= 0 ? place : placeFrom(whole, value, row, count);
  }

  static int placeFrom(int from, float value, long row, int count) {
    for (int i = from; i < count; i++) {
      if (NativeNumbers.getFloat(row + 4L * i) == value) {
        return i;
      }
    }
    return 0;
  }

  /** The sum of {@code exp((z - max) factor)}, in a fixed order. */
  public static float sumOfExponentials(long row, int count, float max, float factor) {
    int whole = count - count % WIDTH;
    float sum = 0;
    if (whole > 0) {
      sum =
          RowFunctions.work()
              ? RowFunctions.sumOfExponentials(row, whole, max, factor)
              : VectorLogits.sumOfExponentials(row, whole, max, factor);
    }
    for (int i = whole; i < count; i++) {
      sum += (float) Math.exp((NativeNumbers.getFloat(row + 4L * i) - max) * factor);
    }
    return sum;
  }

  /** Copies a row's first numbers. */
  public static void read(long row, float[] to) {
    RowArithmetic.read(row, to, 0, to.length);
  }
}
