package org.eellm.kernel.weight;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static org.eellm.kernel.vector.NativeNumbers.MEMORY;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/**
 * A block of a matrix with groups, which is filled output by output, in order, before it is stored:
 * in arrays and simple loops, since most of it happens in a process that has just started.
 *
 * <p>One thread at a time works with one.
 */
final class GroupBlock {
  private static final int OUTPUTS = PackedMatrix.BLOCK;
  private static final int GROUP = GroupLayout.GROUP;
  private static final int ABSOLUTE = 0x7FFF_FFFF;
  private static final float MOST = 127;

  /** 1.5 * 2^23 + 128: what is added to it has no fraction, and 128 more in its lowest byte. */
  private static final float ROUND = 12582912f + 128;

  private static final int ALL_SIGNS = 0x80808080;
  private static final int ALL_LOW = 0x0F0F0F0F;
  private static final int HALVES_TO_BYTES = 0x78787878; // 128 - 8

  private static final VarHandle FOUR =
      MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle TWO =
      MethodHandles.byteArrayViewVarHandle(short[].class, ByteOrder.LITTLE_ENDIAN);

  private final PackedMatrix to;
  private final int steps; // of a group
  private final int groupInts; // of all outputs
  private final int[] block; // [groups][steps][OUTPUTS], and behind each group's the scales

  GroupBlock(PackedMatrix to) {
    this.to = to;
    steps = GROUP / to.format().inputsTogether();
    groupInts = (steps * OUTPUTS) + OUTPUTS / 2;
    block = new int[to.groups() * groupInts];
  }

  /**
   * Rounds an output's weights to 8 bits: the largest of a group becomes 127. A group with a weight
   * that is not finite gets a scale that is none.
   *
   * @param from the first weight's place, of whole groups
   */
  void round(int output, float[] weights, int from) {
    for (int group = 0; group < to.groups(); group++) {
      int first = from + group * GROUP;
      short scale = scale(largest(weights, first));
      float rounded = Float.float16ToFloat(scale);
      float inverse = rounded == 0 ? 0 : 1 / rounded;
      round(weights, first, inverse, block, group * groupInts + output);
      putScale(output, group, scale);
    }
  }

  /** The largest of a group without its sign: as integers, NaN is beyond all others. */
  private static float largest(float[] weights, int first) {
    int even = 0;
    int odd = 0;
    for (int i = first; i < first + GROUP; i += 2) {
      even = Math.max(even, Float.floatToRawIntBits(weights[i]) & ABSOLUTE);
      odd = Math.max(odd, Float.floatToRawIntBits(weights[i + 1]) & ABSOLUTE);
    }
    return Float.intBitsToFloat(Math.max(even, odd));
  }

  /** The scale, float16, that makes this 127: the next one where it would become more. */
  private static short scale(float largest) {
    short nearest = Float.floatToFloat16(largest / MOST);
    float scale = Float.float16ToFloat(nearest);
    return largest > (MOST + 0.49f) * scale ? (short) (nearest + 1) : nearest;
  }

  private static void round(float[] weights, int first, float inverse, int[] block, int at) {
    int to = at;
    for (int i = first; i < first + GROUP; i += 4) {
      int a = Float.floatToRawIntBits(weights[i] * inverse + ROUND);
      int b = Float.floatToRawIntBits(weights[i + 1] * inverse + ROUND);
      int c = Float.floatToRawIntBits(weights[i + 2] * inverse + ROUND);
      int d = Float.floatToRawIntBits(weights[i + 3] * inverse + ROUND);
      block[to] = a & 0xFF | (b & 0xFF) << 8 | (c & 0xFF) << 16 | d << 24;
      to += OUTPUTS;
    }
  }

  /**
   * Takes an output's groups as a file has them.
   *
   * @param from the first one's place
   */
  void take(int output, byte[] groups, int from, GroupLayout layout) {
    for (int group = 0; group < to.groups(); group++) {
      int first = from + group * layout.bytes();
      int at = group * groupInts + output;
      putScale(output, group, (short) TWO.get(groups, first));
      for (int step = 0; step < steps; step++) {
        block[at + step * OUTPUTS] =
            switch (layout) {
              case BYTES -> (int) FOUR.get(groups, first + 2 + 4 * step) ^ ALL_SIGNS;
              case HALVES -> halves(groups, first + 2, step);
            };
      }
    }
  }

  /** The 32 bits of a step, of numbers that lie as {@link GroupLayout#HALVES} has them. */
  private int halves(byte[] groups, int first, int step) {
    if (to.format().bits() == Byte.SIZE) {
      return (four(groups, first, step)) + HALVES_TO_BYTES;
    }
    return four(groups, first, 2 * step) | four(groups, first, 2 * step + 1) << 4;
  }

  /** Four inputs, a byte each. */
  private static int four(byte[] groups, int first, int index) {
    int both = (int) FOUR.get(groups, first + 4 * (index % 4));
    return (index < 4 ? both : both >>> 4) & ALL_LOW;
  }

  private void putScale(int output, int group, short scale) {
    int at = group * groupInts + steps * OUTPUTS + output / 2;
    int bits = scale & 0xFFFF;
    block[at] = output % 2 == 0 ? bits : block[at] | bits << 16;
  }

  /**
   * Stores the block.
   *
   * @param count of outputs that have been filled; those beyond become 0
   */
  void store(int index, int count) {
    int zero = to.format().bits() == Byte.SIZE ? ALL_SIGNS : ALL_SIGNS | ALL_SIGNS >>> 4;
    for (int output = count; output < OUTPUTS; output++) {
      for (int group = 0; group < to.groups(); group++) {
        putScale(output, group, (short) 0);
        for (int step = 0; step < steps; step++) {
          block[group * groupInts + step * OUTPUTS + output] = zero;
        }
      }
    }
    MemorySegment.copy(block, 0, MEMORY, JAVA_INT_UNALIGNED, to.block(index), block.length);
  }
}
