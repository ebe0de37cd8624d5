package org.eellm.kernel.weight;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static org.eellm.kernel.vector.NativeNumbers.MEMORY;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/**
 * A matrix W [out, in] laid out for products {@code x W^T}: in blocks of {@link #BLOCK} outputs,
 * and in a block the inputs one after the other in groups of 32 bits, {@code [out / 64][in /
 * g][64][g]} with g = 1 (float32), 2 (bfloat16) or 4 (int8). A vector then holds one group of
 * inputs of many outputs: sums stay in registers, and no sum is taken across a vector. Outputs and
 * inputs are filled up with zeros, in bfloat16 to 32 inputs, which tiles take at once.
 *
 * <p>Where inputs share scales in groups, a block is {@code [in / group]} of {@code [group / g][64]
 * [g]} numbers and 64 float16 scales, so that all is read in one go. Of 4 bits, g is 8: a byte has
 * the i-th of the inputs in its lower half and the (4 + i)-th in its upper.
 *
 * @param address of the first block, a multiple of 64
 */
public record PackedMatrix(WeightFormat format, int out, int in, long address) {
  public static final int BLOCK = 64;

  /** Steps of a block that are packed together, so that cache lines of the source are read once. */
  private static final int TILE = 16;

  private static final long CALL_BYTES = 2 << 20;

  /** From a group of inputs to the next. */
  private static final long STEP_BYTES = 4L * BLOCK;

  private static final VarHandle FOUR =
      MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);

  private static final long FIRST = 0xFFFF_FFFFL; // of two groups

  public static long bytes(WeightFormat format, int out, int in) {
    return (long) Math.ceilDiv(out, BLOCK) * blockBytes(format, in);
  }

  private static long blockBytes(WeightFormat format, int in) {
    return format.hasGroups()
        ? Math.ceilDiv(in, format.group()) * groupBytes(format)
        : steps(format, in) * STEP_BYTES;
  }

  /** Bytes of a block's numbers of a group, and of their scales. */
  private static long groupBytes(WeightFormat format) {
    return numberBytes(format) + (long) BLOCK * Short.BYTES;
  }

  private static long numberBytes(WeightFormat format) {
    return format.group() / format.inputsTogether() * STEP_BYTES;
  }

  private static int steps(WeightFormat format, int in) {
    return format.padded(in) / format.inputsTogether();
  }

  public PackedMatrix first(int outputs) {
    return new PackedMatrix(format, Math.min(out, outputs), in, address);
  }

  /**
   * The matrix with some outputs alone.
   *
   * @param outputs which, in their new order
   * @param to address of zeroed memory for them, a multiple of 64
   */
  public PackedMatrix choose(int[] outputs, long to) {
    PackedMatrix chosen = new PackedMatrix(format, outputs.length, in, to);
    for (int o = 0; o < outputs.length; o++) {
      if (format.hasGroups()) {
        chosen.takeGroups(o, this, outputs[o]);
      } else {
        long source = block(outputs[o] / BLOCK) + 4L * (outputs[o] % BLOCK);
        long target = chosen.block(o / BLOCK) + 4L * (o % BLOCK);
        takeSteps(source, target, steps());
      }
    }
    return chosen;
  }

  private static void takeSteps(long source, long target, long steps) {
    for (int step = 0; step < steps; step++) {
      int together = MEMORY.get(JAVA_INT_UNALIGNED, source + STEP_BYTES * step);
      MEMORY.set(JAVA_INT_UNALIGNED, target + STEP_BYTES * step, together);
    }
  }

  private void takeGroups(int output, PackedMatrix from, int other) {
    for (int group = 0; group < groups(); group++) {
      long source = from.group(other / BLOCK, group);
      long target = group(output / BLOCK, group);
      takeSteps(
          source + 4L * (other % BLOCK),
          target + 4L * (output % BLOCK),
          numberBytes(format) / STEP_BYTES);
      short scale = from.groupScale(other, group);
      MEMORY.set(JAVA_SHORT_UNALIGNED, scaleAddress(output, group), scale);
    }
  }

  public int blocks() {
    return Math.ceilDiv(out, BLOCK);
  }

  /** Groups of inputs that share scales. */
  public int groups() {
    return Math.ceilDiv(in, format.group());
  }

  public long group(int block, int group) {
    return block(block) + group * groupBytes(format);
  }

  /** Address of a group's scale; those of the block's next outputs follow. */
  public long scaleAddress(int output, int group) {
    return group(output / BLOCK, group) + numberBytes(format) + 2L * (output % BLOCK);
  }

  /** A group's scale, float16. */
  public short groupScale(int output, int group) {
    return MEMORY.get(JAVA_SHORT_UNALIGNED, scaleAddress(output, group));
  }

  /**
   * Writes a group of an output.
   *
   * @param scale float16
   * @param numbers one a byte, without signs: q + {@link WeightFormat#offset}
   * @param from the first of them
   */
  public void putGroup(int output, int group, short scale, byte[] numbers, int from) {
    long to = group(output / BLOCK, group) + 4L * (output % BLOCK);
    int together = format.inputsTogether();
    for (int i = 0; i < format.group(); i += together) {
      int bits = (int) FOUR.get(numbers, from + i);
      if (format.bits() == 4) {
        bits |= (int) FOUR.get(numbers, from + i + 4) << 4;
      }
      MEMORY.set(JAVA_INT_UNALIGNED, to + STEP_BYTES * (i / together), bits);
    }
    MEMORY.set(JAVA_SHORT_UNALIGNED, scaleAddress(output, group), scale);
  }

  /** Reads an output's weights as float32: what the kernels multiply with. */
  public void read(int output, float[] to) {
    if (format.hasGroups()) {
      readGroups(output, to);
      return;
    }
    long from = block(output / BLOCK) + 4L * (output % BLOCK);
    for (int i = 0; i < in; i++) {
      to[i] =
          format == WeightFormat.FLOAT32
              ? MEMORY.get(JAVA_FLOAT_UNALIGNED, from + STEP_BYTES * i)
              : Float.intBitsToFloat(
                  MEMORY.get(JAVA_SHORT_UNALIGNED, from + STEP_BYTES * (i / 2) + 2L * (i % 2))
                      << 16);
    }
  }

  private void readGroups(int output, float[] to) {
    int together = format.inputsTogether();
    int mask = (1 << format.bits()) - 1;
    int offset = format.offset();
    for (int group = 0; group < groups(); group++) {
      float scale = Float.float16ToFloat(groupScale(output, group));
      long at = group(output / BLOCK, group) + 4L * (output % BLOCK);
      int first = group * format.group();
      int count = Math.min(format.group(), in - first);
      for (int i = 0; i < count; i++) {
        int place = i % together;
        int bits = MEMORY.get(JAVA_INT_UNALIGNED, at + STEP_BYTES * (i / together));
        to[first + i] = scale * ((bits >>> format.shift(place) & mask) - offset);
      }
    }
  }

  /** Groups of inputs that lie together. */
  public int steps() {
    return steps(format, in);
  }

  public long blockBytes() {
    return blockBytes(format, in);
  }

  /**
   * Blocks that one call of machine code reads at most, for whose end the garbage collector waits.
   */
  public int blocksOfCall() {
    return (int) Math.max(1, CALL_BYTES / blockBytes());
  }

  public long block(int index) {
    return address + index * blockBytes();
  }

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
    int copied = PackCode.copy(source, row, to, rows, whole);
    for (int first = copied; first < whole; first += TILE) {
      int count = Math.min(TILE, whole - first);
      packTile(source + 4L * first, row, rows, count, to + STEP_BYTES * first);
    }
    if (in % group > 0) {
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
    for (int o = 0; o < rows; o++) {
      packOneByOne(source + o * row, o < evenRows ? evenCount : 0, count, to + 4L * o);
    }
  }

  /** The pairs of a row from one on, each below the one before. */
  private static void packOneByOne(long row, int first, int count, long to) {
    for (int k = first; k < count; k++) {
      int together = MEMORY.get(JAVA_INT_UNALIGNED, row + 4L * k);
      MEMORY.set(JAVA_INT_UNALIGNED, to + STEP_BYTES * k, together);
    }
  }

  /** The inputs of an incomplete group, which bfloat16 alone has. */
  private int rest(long row, int first) {
    int together = 0;
    for (int i = first; i < in; i++) {
      int bits = MEMORY.get(JAVA_SHORT_UNALIGNED, row + 2L * i) & 0xFFFF;
      together |= bits << 8 * format.bytes() * (i - first);
    }
    return together;
  }
}
