package org.eellm.kernel;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static org.eellm.kernel.Lanes.MEMORY;

import java.util.Optional;

/**
 * A matrix W [out, in] laid out for products {@code x W^T}: in blocks of {@link #BLOCK} outputs,
 * and in a block the inputs one after the other in groups of 32 bits, {@code [out / 64][in /
 * g][64][g]} with g = 1 (float32), 2 (bfloat16) or 4 (int8). A vector then holds one group of
 * inputs of many outputs: sums stay in registers, and no sum is taken across a vector. oneDNN's
 * micro-kernels read the same layout. Outputs and inputs are filled up with zeros.
 *
 * @param address of the first block, a multiple of 64
 * @param scales a factor for each output of all blocks, with int8
 */
public record PackedMatrix(
    WeightFormat format, int out, int in, long address, Optional<float[]> scales) {
  /** Outputs of a block. */
  public static final int BLOCK = 64;

  /** Steps of a block that are packed together, so that cache lines of the source are read once. */
  private static final int TILE = 16;

  /** From a group of inputs to the next. */
  private static final long STEP_BYTES = 4L * BLOCK;

  private static final long FIRST = 0xFFFF_FFFFL; // of two groups

  /** Bytes that a matrix takes. */
  public static long bytes(WeightFormat format, int out, int in) {
    return (long) Math.ceilDiv(out, BLOCK) * blockBytes(format, in);
  }

  private static long blockBytes(WeightFormat format, int in) {
    return (long) steps(format, in) * BLOCK * Integer.BYTES;
  }

  private static int steps(WeightFormat format, int in) {
    return Math.ceilDiv(in, format.inputsTogether());
  }

  /** The matrix with its first outputs alone. */
  public PackedMatrix first(int outputs) {
    return new PackedMatrix(format, Math.min(out, outputs), in, address, scales);
  }

  /**
   * The matrix with some outputs alone.
   *
   * @param outputs which, in their new order
   * @param to address of zeroed memory for them, a multiple of 64
   */
  public PackedMatrix choose(int[] outputs, long to) {
    PackedMatrix chosen =
        new PackedMatrix(
            format, outputs.length, in, to, scales.map(factors -> choose(factors, outputs)));
    for (int o = 0; o < outputs.length; o++) {
      long source = block(outputs[o] / BLOCK) + 4L * (outputs[o] % BLOCK);
      long target = chosen.block(o / BLOCK) + 4L * (o % BLOCK);
      for (int step = 0; step < steps(); step++) {
        int group = MEMORY.get(JAVA_INT_UNALIGNED, source + STEP_BYTES * step);
        MEMORY.set(JAVA_INT_UNALIGNED, target + STEP_BYTES * step, group);
      }
    }
    return chosen;
  }

  private static float[] choose(float[] factors, int[] outputs) {
    float[] chosen = new float[Math.ceilDiv(outputs.length, BLOCK) * BLOCK];
    for (int o = 0; o < outputs.length; o++) {
      chosen[o] = factors[outputs[o]];
    }
    return chosen;
  }

  /** Number of blocks. */
  public int blocks() {
    return Math.ceilDiv(out, BLOCK);
  }

  /** Groups of inputs. */
  public int steps() {
    return steps(format, in);
  }

  public long blockBytes() {
    return blockBytes(format, in);
  }

  /** Address of a block. */
  public long block(int index) {
    return address + index * blockBytes();
  }

  /** Bytes of the whole. */
  public long bytes() {
    return bytes(format, out, in);
  }

  /**
   * Fills a block from rows of a matrix [.., in] in row-major order.
   *
   * @param source address of the block's first row
   * @param rows of the source; outputs beyond become 0
   */
  public void pack(int block, long source, int rows) {
    long row = (long) in * format.bytes();
    int group = format.inputsTogether();
    int whole = in / group;
    long to = block(block);
    for (int first = 0; first < whole; first += TILE) {
      int count = Math.min(TILE, whole - first);
      packTile(source + 4L * first, row, rows, count, to + STEP_BYTES * first);
    }
    if (whole < steps()) {
      for (int o = 0; o < rows; o++) {
        MEMORY.set(
            JAVA_INT_UNALIGNED,
            to + 4L * ((long) whole * BLOCK + o),
            rest(source + o * row, whole * group));
      }
    }
  }

  /** Packs some groups of all rows: two groups of two rows at once, then what is left. */
  private static void packTile(long source, long row, int rows, int count, long to) {
    int evenRows = rows & ~1;
    int evenCount = count & ~1;
    for (int o = 0; o < evenRows; o += 2) {
      long from = source + o * row;
      for (int k = 0; k < evenCount; k += 2) {
        long a = MEMORY.get(JAVA_LONG_UNALIGNED, from + 4L * k);
        long b = MEMORY.get(JAVA_LONG_UNALIGNED, from + row + 4L * k);
        long at = to + STEP_BYTES * k + 4L * o;
        MEMORY.set(JAVA_LONG_UNALIGNED, at, a & FIRST | b << 32);
        MEMORY.set(JAVA_LONG_UNALIGNED, at + STEP_BYTES, a >>> 32 | b & ~FIRST);
      }
    }
    packOneByOne(source, row, 0, evenRows, evenCount, count, to);
    packOneByOne(source, row, evenRows, rows, 0, count, to);
  }

  private static void packOneByOne(
      long source, long row, int firstRow, int rows, int first, int count, long to) {
    for (int o = firstRow; o < rows; o++) {
      for (int k = first; k < count; k++) {
        int together = MEMORY.get(JAVA_INT_UNALIGNED, source + o * row + 4L * k);
        MEMORY.set(JAVA_INT_UNALIGNED, to + STEP_BYTES * k + 4L * o, together);
      }
    }
  }

  /** The inputs of an incomplete group. */
  private int rest(long row, int first) {
    int together = 0;
    for (int i = first; i < in; i++) {
      int bits =
          switch (format) {
            case FLOAT32 -> throw new IllegalStateException("float32 has no groups");
            case BFLOAT16 -> MEMORY.get(JAVA_SHORT_UNALIGNED, row + 2L * i) & 0xFFFF;
            case INT8 -> MEMORY.get(JAVA_BYTE, row + i) & 0xFF;
          };
      together |= bits << 8 * format.bytes() * (i - first);
    }
    return together;
  }
}
