package org.eellm.kernel.weight;

/** How a matrix's numbers lie in memory. */
public enum WeightFormat {
  FLOAT32(32, 1, 0),
  BFLOAT16(16, 2, 0),
  /** 128 + q in a byte; q is multiplied with a float16 scale for each group of inputs. */
  INT8(8, 4, 32),
  /** 8 + q in half a byte; q is multiplied with a float16 scale for each group of inputs. */
  INT4(4, 8, 32);

  private static final int BFLOAT16_INPUTS = 32; // that tiles take at once

  private final int bits;
  private final int inputs;
  private final int group;

  WeightFormat(int bits, int inputs, int group) {
    this.bits = bits;
    this.inputs = inputs;
    this.group = group;
  }

  public int bits() {
    return bits;
  }

  /** Bytes of a number where a byte has no two. */
  public int bytes() {
    return bits / Byte.SIZE;
  }

  /** Inputs of an output that lie together, in 32 bits. */
  public int inputsTogether() {
    return inputs;
  }

  /** How many inputs a matrix of so many is filled up to with zeros, without groups. */
  public int padded(int in) {
    int together = this == BFLOAT16 ? BFLOAT16_INPUTS : inputs;
    return Math.ceilDiv(in, together) * together;
  }

  /** Whether inputs share scales in groups. */
  public boolean hasGroups() {
    return group > 0;
  }

  /** Consecutive inputs of an output that share a scale, a multiple of 32; 0 without groups. */
  public int group() {
    return group;
  }

  /** By how many bits an input's number is shifted among those that lie together, with groups. */
  public int shift(int input) {
    return bits == Byte.SIZE ? 8 * input : 8 * (input % 4) + input / 4 * 4;
  }

  /** The number added to those of a group so that they have no sign; 0 without groups. */
  public int offset() {
    return hasGroups() ? 1 << bits - 1 : 0;
  }
}
