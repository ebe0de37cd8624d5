package org.eellm.kernel.matmul;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static org.eellm.kernel.vector.NativeNumbers.MEMORY;

import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.WeightFormat;

/**
 * A {@link Tile} in plain Java, of integers; and those of other numbers.
 *
 * @param signs bits that are turned over, by which the numbers have a sign
 */
record ScalarTile(WeightFormat format, int signs) implements Tile {

  static void floats(long w, long stepBytes, int steps, float[] x, int at, float[] sums, int to) {
    for (int o = 0; o < OUTPUTS; o++) {
      float sum = sums[to + o];
      for (int step = 0; step < steps; step++) {
        sum = Math.fma(NativeNumbers.getFloat(w + step * stepBytes + 4L * o), x[at + step], sum);
      }
      sums[to + o] = sum;
    }
  }

  static void pairs(long w, long stepBytes, int steps, float[] x, int at, float[] sums, int to) {
    for (int o = 0; o < OUTPUTS; o++) {
      float sum = sums[to + o];
      for (int step = 0; step < steps; step++) {
        int pair = MEMORY.get(JAVA_INT_UNALIGNED, w + step * stepBytes + 4L * o);
        sum = Math.fma(Float.intBitsToFloat(pair & 0xFFFF0000), x[at + 2 * step + 1], sum);
        sum = Math.fma(Float.intBitsToFloat(pair << 16), x[at + 2 * step], sum);
      }
      sums[to + o] = sum;
    }
  }

  @Override
  public void run(long w, long stepBytes, int steps, float[] x, int at, float[] sums, int to) {
    int together = format.inputsTogether();
    int others = Integer.SIZE - format.bits();
    for (int o = 0; o < OUTPUTS; o++) {
      float sum = sums[to + o];
      for (int step = 0; step < steps; step++) {
        int all = MEMORY.get(JAVA_INT_UNALIGNED, w + step * stepBytes + 4L * o) ^ signs;
        for (int i = 0; i < together; i++) {
          int number = all << others - format.shift(i) >> others;
          sum = Math.fma(number, x[at + step * together + i], sum);
        }
      }
      sums[to + o] = sum;
    }
  }
}
