package org.eellm.kernel.matmul;

import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.WeightFormat;

/**
 * A small product of random numbers, the same each time, by which native code is tried. What has to
 * come out is computed number by number, in the order that {@link MatmulKernel} and {@link
 * DotKernels} promise.
 *
 * @param w blocks of outputs with the same weights, in each block one place further: one block more
 *     than machine code takes at once
 * @param rows of x
 * @param expected the first block's outputs, by row
 */
record KernelProbe(PackedMatrix w, float[][] rows, float[][] expected) {
  private static final int BLOCK = PackedMatrix.BLOCK;
  private static final int BLOCKS = BlockCode.mostStreams(CodeTarget.candidates().getFirst()) + 1;
  private static final int TILE_BLOCKS = 3;

  // Few inputs, since all of this is interpreted; with groups, three of them.
  private static final int INPUTS = 6;
  private static final int TILE_INPUTS = 34;
  private static final int GROUPED_INPUTS = 70;
  private static final int MOST_DIFFERENT = 7; // rows; further ones repeat them
  private static final int MOST = 127; // of 8 bits
  private static final byte NOT_A_NUMBER = -1; // in every byte, where nothing is written

  /**
   * Whether all outputs of rows come out right, to the bit, for one block up to one more than
   * machine code takes at once.
   *
   * @param counts how many rows, the most at last
   */
  static boolean passes(MatmulKernel kernel, int... counts) {
    WeightFormat format = kernel.format();
    boolean tiles = kernel.order() == SumOrder.TILES;
    int in = format.hasGroups() ? GROUPED_INPUTS : tiles ? TILE_INPUTS : INPUTS;
    int blocks = tiles ? TILE_BLOCKS : BLOCKS;
    long rowBytes = 4L * blocks * BLOCK;
    int mostRows = counts[counts.length - 1];
    int different = Math.min(mostRows, MOST_DIFFERENT);
    try (NativeBuffer memory =
            NativeBuffer.allocate(PackedMatrix.bytes(format, blocks * BLOCK, in));
        NativeBuffer y = NativeBuffer.allocate(rowBytes * mostRows);
        PackedInput x = kernel.allocate(mostRows, in)) {
      PackedMatrix w = new PackedMatrix(format, blocks * BLOCK, in, memory.address());
      KernelProbe probe = new KernelProbe(w, new float[different][in], new float[different][BLOCK]);
      if (format.hasGroups()) {
        probe.fillGroups(new Random(1));
      } else {
        probe.fill(new Random(1), kernel.order());
      }
      for (int count : counts) {
        x.begin(count);
        for (int row = 0; row < count; row++) {
          x.put(row, 0, FloatArray.of(probe.rows[row % different]), 0, in);
        }
        for (int taken = 1; taken <= blocks; taken++) {
          MemorySegment.ofAddress(y.address()).reinterpret(y.bytes()).fill(NOT_A_NUMBER);
          kernel.multiply(w, 0, taken, x, 0, count, y.address(), rowBytes);
          if (!probe.isExpected(y.address(), rowBytes, count, taken)) {
            return false;
          }
        }
      }
      return true;
    }
  }

  private boolean isExpected(long y, long rowBytes, int count, int blocks) {
    float[] outputs = new float[BLOCK];
    for (int row = 0; row < count; row++) {
      for (int block = 0; block < blocks; block++) {
        long from = y + row * rowBytes + 4L * block * BLOCK;
        FloatArithmetic.read(from, outputs, 0, BLOCK);
        for (int o = 0; o < BLOCK; o++) {
          if (outputs[place(o, block)] != expected[row % expected.length][o]) {
            return false;
          }
        }
      }
    }
    return true;
  }

  /** Where a block has the output that the first has at a place. */
  private static int place(int output, int block) {
    return (output + block) % BLOCK;
  }

  private void fill(Random random, SumOrder order) {
    int in = w.in();
    int together = w.format().inputsTogether();
    for (float[] row : rows) {
      for (int i = 0; i < in; i++) {
        row[i] = rounded((float) random.nextGaussian());
      }
    }
    for (int o = 0; o < BLOCK; o++) {
      float[] weights = new float[in];
      for (int i = 0; i < in; i++) {
        weights[i] = rounded((float) random.nextGaussian());
        for (int block = 0; block < w.blocks(); block++) {
          long at = w.block(block) + 4L * (i / together * BLOCK + place(o, block));
          if (together == 1) {
            NativeNumbers.putFloat(weights[i], at);
          } else {
            NativeNumbers.put(weights[i], at + 2L * (i % together));
          }
        }
      }
      for (int row = 0; row < rows.length; row++) {
        expected[row][o] =
            order == SumOrder.CHAIN
                ? chain(weights, rows[row], together)
                : tiles(weights, rows[row]);
      }
    }
  }

  private static float chain(float[] weights, float[] row, int together) {
    float sum = 0;
    for (int first = 0; first < row.length; first += together) {
      for (int i = first + together - 1; i >= first; i--) { // the last first
        sum = Math.fma(weights[i], row[i], sum);
      }
    }
    return sum;
  }

  private static float tiles(float[] weights, float[] row) {
    float sum = 0;
    float[] halves = new float[2]; // of even and of odd inputs
    for (int i = 0; i < row.length; i++) {
      halves[i % 2] = Math.fma(weights[i], row[i], halves[i % 2]);
      if ((i + 1) % SumOrder.TILE_INPUTS == 0 || i + 1 == row.length) {
        sum += halves[0] + halves[1];
        halves = new float[2];
      }
    }
    return sum;
  }

  /** A number rounded to the format of the weights. */
  private float rounded(float x) {
    return w.format() == WeightFormat.BFLOAT16
        ? Float.intBitsToFloat(NativeNumbers.bfloat16(x) << 16)
        : x;
  }

  /** Rows whose groups have numbers of 8 bits times a power of two, which rounding leaves alone. */
  private void fillGroups(Random random) {
    int group = w.format().group();
    for (float[] row : rows) {
      for (int i = 0; i < row.length; i++) {
        int number = i % group == 0 ? MOST : random.nextInt(-MOST, MOST + 1);
        row[i] = number * scaleOfRows(i / group);
      }
    }
    byte[] numbers = new byte[group];
    for (int o = 0; o < BLOCK; o++) {
      for (int g = 0; g < w.groups(); g++) {
        for (int i = 0; i < group; i++) {
          numbers[i] = (byte) random.nextInt(1 << w.format().bits());
        }
        short scale = Float.floatToFloat16((float) random.nextGaussian());
        for (int block = 0; block < w.blocks(); block++) {
          w.putGroup(block * BLOCK + place(o, block), g, scale, numbers, 0);
        }
        for (int row = 0; row < rows.length; row++) {
          float factor = Float.float16ToFloat(scale) * scaleOfRows(g);
          expected[row][o] = Math.fma(sumOfGroup(row, g, numbers), factor, expected[row][o]);
        }
      }
    }
  }

  private static float scaleOfRows(int group) {
    return 1f / (4 << group);
  }

  private int sumOfGroup(int row, int group, byte[] numbers) {
    int first = group * numbers.length;
    int sum = 0;
    for (int i = first; i < Math.min(first + numbers.length, w.in()); i++) {
      int weight = (numbers[i - first] & 0xFF) - w.format().offset();
      sum += weight * Math.round(rows[row][i] / scaleOfRows(group));
    }
    return sum;
  }
}
