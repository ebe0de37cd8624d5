package org.eellm.kernel.machine;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Encodes instructions of x86-64: general ones as their bytes, vector ones of 512 bits (AVX-512) by
 * their opcode and operands. Intel's manual, volume 2, tells the encoding.
 */
public final class MachineCode {
  public static final int VECTOR_BYTES = 64;

  // General registers by their numbers.
  public static final int RAX = 0;
  public static final int RCX = 1;
  public static final int RDX = 2;
  public static final int RBX = 3;
  public static final int RBP = 5;
  public static final int RDI = 7;
  public static final int R10 = 10;
  public static final int R11 = 11;
  public static final int R13 = 13;

  /** In place of an index register. */
  public static final int NO_INDEX = -1;

  /** A vector instruction: the map of its opcode, the prefix within the encoding, the opcode. */
  public enum Operation {
    LOAD_FLOATS(1, 0, 0x10), // vmovups
    STORE_FLOATS(1, 0, 0x11),
    MOVE(1, 0, 0x28), // vmovaps
    MULTIPLY(1, 0, 0x59), // vmulps
    TO_FLOATS(1, 0, 0x5B), // vcvtdq2ps
    SHIFT_SHORTS(1, 1, 0x71), // vpsrlw and others, by a constant
    SHIFT_INTS(1, 1, 0x72), // vpslld and others, by a constant
    AND(1, 1, 0xDB), // vpandd
    EXCLUSIVE_OR(1, 1, 0xEF), // vpxord
    FLOATS_OF_HALVES(2, 1, 0x13), // vcvtph2ps
    BROADCAST_FLOAT(2, 1, 0x18), // vbroadcastss
    DOT_OF_BYTES(2, 1, 0x50), // vpdpbusd
    DOT_OF_BFLOAT16(2, 2, 0x52), // vdpbf16ps
    BROADCAST_INT(2, 1, 0x58), // vpbroadcastd
    BROADCAST_REGISTER(2, 1, 0x7C), // vpbroadcastd of a general register
    MULTIPLY_ADD(2, 1, 0xA8); // vfmadd213ps: to = first * to + last

    private final int map;
    private final int prefix;
    private final int opcode;

    Operation(int map, int prefix, int opcode) {
      this.map = map;
      this.prefix = prefix;
      this.opcode = opcode;
    }
  }

  private final ByteArrayOutputStream code = new ByteArrayOutputStream();

  /** The bytes so far. */
  public byte[] toByteArray() {
    return code.toByteArray();
  }

  /** Where the next instruction goes. */
  public int position() {
    return code.size();
  }

  public void bytes(int... values) {
    for (int value : values) {
      code.write(value);
    }
  }

  /** In 4 bytes, the lowest first. */
  public void number(int value) {
    code.writeBytes(
        ByteBuffer.allocate(Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN).putInt(value).array());
  }

  /** The end of a jump: how far it is from here to a position. */
  public void distanceTo(int position) {
    number(position - position() - Integer.BYTES);
  }

  /** {@code lea to, [base + index]}. */
  public void addressOfSum(int to, int base, int index) {
    bytes(
        0x48 | to >> 3 << 2 | index >> 3 << 1 | base >> 3,
        0x8D,
        0x44 | (to & 7) << 3,
        (index & 7) << 3 | base & 7,
        0);
  }

  /** {@code add rdi, bytes}. */
  public void advanceWeights(int by) {
    bytes(0x48, 0x81, 0xC7);
    number(by);
  }

  /** {@code prefetcht0 [rdi + offset]}. */
  public void prefetchWeights(int offset) {
    bytes(0x0F, 0x18, 0x8F);
    number(offset);
  }

  /** An instruction on three registers; one without the operand in the middle has 0 there. */
  public void vector(Operation operation, int to, int first, int second) {
    evex(operation, to, first, second >> 4, second >> 3 & 1);
    bytes(operation.opcode, 0xC0 | (to & 7) << 3 | second & 7);
  }

  /**
   * An instruction whose last operand is in memory, at {@code base + 4 index + offset}.
   *
   * @param first the other operand, 0 if there is none
   */
  public void vector(Operation operation, int to, int first, int base, int index, int offset) {
    evex(operation, to, first, index == NO_INDEX ? 0 : index >> 3, base >> 3);
    if (index == NO_INDEX) {
      bytes(operation.opcode, 0x80 | (to & 7) << 3 | base & 7);
    } else {
      bytes(operation.opcode, 0x84 | (to & 7) << 3, 0x80 | (index & 7) << 3 | base & 7);
    }
    number(offset);
  }

  /** The prefix of vector instructions: highest bits of registers are inverted. */
  private void evex(Operation operation, int to, int first, int indexHigh, int baseHigh) {
    bytes(
        0x62,
        (~to >> 3 & 1) << 7
            | (~indexHigh & 1) << 6
            | (~baseHigh & 1) << 5
            | (~to >> 4 & 1) << 4
            | operation.map,
        (~first & 15) << 3 | 4 | operation.prefix,
        0x40 | (~first >> 4 & 1) << 3);
  }
}
