package org.eellm.kernel.machine;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

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
  public static final int RSI = 6;
  public static final int RDI = 7;
  public static final int R8 = 8;
  public static final int R9 = 9;
  public static final int R10 = 10;
  public static final int R11 = 11;
  public static final int R12 = 12;
  public static final int R13 = 13;
  public static final int R14 = 14;
  public static final int R15 = 15;

  /** In place of an index register. */
  public static final int NO_INDEX = -1;

  /** A vector instruction: the map of its opcode, the prefix within the encoding, the opcode. */
  public enum Operation {
    LOAD_FLOATS(1, 0, 0x10), // vmovups
    STORE_FLOATS(1, 0, 0x11),
    MOVE(1, 0, 0x28), // vmovaps
    ADD(1, 0, 0x58), // vaddps
    MULTIPLY(1, 0, 0x59), // vmulps
    SUBTRACT(1, 0, 0x5C), // vsubps
    DIVIDE(1, 0, 0x5E), // vdivps
    SMALLER(1, 0, 0x5D), // vminps: the last where one is NaN
    LARGER(1, 0, 0x5F), // vmaxps: the same
    COMPARE(1, 0, 0xC2), // vcmpps to a mask, by a constant
    TO_FLOATS(1, 0, 0x5B), // vcvtdq2ps
    SHIFT_SHORTS(1, 1, 0x71), // vpsrlw and others, by a constant
    SHIFT_INTS(1, 1, 0x72), // vpslld and others, by a constant
    AND(1, 1, 0xDB), // vpandd
    OR(1, 1, 0xEB), // vpord
    ADD_INTS(1, 1, 0xFE), // vpaddd
    EXCLUSIVE_OR(1, 1, 0xEF), // vpxord
    FLOATS_OF_HALVES(2, 1, 0x13), // vcvtph2ps
    BROADCAST_FLOAT(2, 1, 0x18), // vbroadcastss
    STORE_BYTES(2, 2, 0x31), // vpmovdb: the lowest bytes of 32 bits
    STORE_HALVES(2, 2, 0x33), // vpmovdw: the lower halves
    LOAD_HALVES(2, 1, 0x33), // vpmovzxwd: into the lower halves
    LARGER_INT(2, 1, 0x3D), // vpmaxsd
    DOT_OF_BYTES(2, 1, 0x50), // vpdpbusd
    DOT_OF_BFLOAT16(2, 2, 0x52), // vdpbf16ps
    BROADCAST_INT(2, 1, 0x58), // vpbroadcastd
    BROADCAST_REGISTER(2, 1, 0x7C), // vpbroadcastd of a general register
    MULTIPLY_ADD(2, 1, 0xA8), // vfmadd213ps: to = first * to + last
    ADD_PRODUCT(2, 1, 0xB8), // vfmadd231ps: to = first * last + to
    HALVES_OF_FLOATS(3, 1, 0x1D), // vcvtps2ph to the last operand, by a constant
    TURN(3, 1, 0x03), // valignd by a constant: lanes of last, then of first

    // Of 8 lanes of 64 bits.
    DOUBLES_OF_FLOATS(1, 0, 0x5A), // vcvtps2pd
    FLOATS_OF_DOUBLES(1, WIDE | 1, 0x5A), // vcvtpd2ps, to the lower half
    ADD_DOUBLES(1, WIDE | 1, 0x58), // vaddpd
    MULTIPLY_DOUBLES(1, WIDE | 1, 0x59), // vmulpd
    LARGER_DOUBLE(1, WIDE | 1, 0x5F), // vmaxpd
    LONGS_OF_INTS(2, 1, 0x25), // vpmovsxdq
    INTS_OF_LONGS(2, 2, 0x35), // vpmovqd, to the lower half of the last operand
    ADD_LONGS(1, WIDE | 1, 0xD4), // vpaddq
    MULTIPLY_LONGS(2, WIDE | 1, 0x40), // vpmullq
    SHIFT_LONGS(1, WIDE | 1, 0x73), // vpsrlq and others, by a constant
    LEADING_ZEROS(2, WIDE | 1, 0x44), // vplzcntq
    BROADCAST_LONG(2, WIDE | 1, 0x7C), // vpbroadcastq of a general register
    INSERT_HALF(3, WIDE | 1, 0x3A); // vinserti64x4, by a constant

    private final int map;
    private final int prefix;
    private final int opcode;

    Operation(int map, int prefix, int opcode) {
      this.map = map;
      this.prefix = prefix;
      this.opcode = opcode;
    }
  }

  /** Of the encoding, beside the prefix: lanes have 64 bits. */
  private static final int WIDE = 0x80;

  /** Of the encoding: the operand in memory is one number, taken for all lanes. */
  private static final int BROADCAST = 0x10;

  /** Of the encoding: lanes outside the mask become 0. */
  private static final int ZERO = 0x80;

  private final ByteArrayOutputStream code = new ByteArrayOutputStream();
  private final List<Landing> landings = new ArrayList<>();

  /** Where a jump forwards ends. */
  private record Landing(int jump, int target) {}

  /** The bytes so far. */
  public byte[] toByteArray() {
    ByteBuffer all = ByteBuffer.wrap(code.toByteArray()).order(ByteOrder.LITTLE_ENDIAN);
    for (Landing landing : landings) {
      all.putInt(landing.jump, landing.target - landing.jump - Integer.BYTES);
    }
    return all.array();
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

  /**
   * The end of a jump forwards, over what is written until {@link #land}.
   *
   * @return what to give to that method
   */
  public int distanceAhead() {
    int jump = position();
    number(0);
    return jump;
  }

  /** Where a jump forwards ends. */
  public void land(int jump) {
    landings.add(new Landing(jump, position()));
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

  /** Shifts 32 bits by a constant. */
  public void shiftLeft(int to, int from, int bits) {
    shift(6, to, from, bits);
  }

  /** The same to the right, with zeros. */
  public void shiftRight(int to, int from, int bits) {
    shift(2, to, from, bits);
  }

  /** The same to the right, with the sign. */
  public void shiftRightSigned(int to, int from, int bits) {
    shift(4, to, from, bits);
  }

  private void shift(int kind, int to, int from, int bits) {
    vector(Operation.SHIFT_INTS, kind, to, from);
    bytes(bits);
  }

  /**
   * Combines all lanes of a register, in the order of {@link org.eellm.kernel.vector.Lanes#sum};
   * then each has the result.
   */
  public void reduce(Operation operation, int register, int free) {
    for (int turn = 1; turn < VECTOR_BYTES / Float.BYTES; turn *= 2) {
      vector(Operation.TURN, free, register, register);
      bytes(turn);
      vector(operation, register, register, free);
    }
  }

  /** Returns, so that what comes next may use vectors of any width. */
  public void end() {
    bytes(0xC5, 0xF8, 0x77); // vzeroupper
    bytes(0xC3); // ret
  }

  /** {@code mov to, from} of general registers. */
  public void move(int to, int from) {
    bytes(0x48 | from >> 3 << 2 | to >> 3, 0x89, 0xC0 | (from & 7) << 3 | to & 7);
  }

  /** {@code add to, from} of general registers. */
  public void add(int to, int from) {
    bytes(0x48 | from >> 3 << 2 | to >> 3, 0x01, 0xC0 | (from & 7) << 3 | to & 7);
  }

  /** Makes a vector of 16 times the float32 number whose bits a general register has. */
  public void broadcast(int to, int register) {
    vector(Operation.BROADCAST_REGISTER, to, 0, register);
  }

  /** {@code vmovd eax, xmm0}: the bits of the first number, to be returned. */
  public void result() {
    bytes(0xC5, 0xF9, 0x7E, 0xC0);
  }

  /** {@code add register, bytes}. */
  public void advance(int register, int by) {
    bytes(0x48 | register >> 3, 0x81, 0xC0 | register & 7);
    number(by);
  }

  /** {@code lea register, [register + 4 units]}. */
  public void advanceByUnits(int register, int units) {
    bytes(
        0x48 | register >> 3 << 2 | units >> 3 << 1 | register >> 3,
        0x8D,
        0x44 | (register & 7) << 3,
        0x80 | (units & 7) << 3 | register & 7,
        0);
  }

  /** {@code prefetcht0 [base + 4 index + offset]}. */
  public void prefetch(int base, int index, int offset) {
    if (index == NO_INDEX) {
      requireNoIndexNeeded(base);
      bytes(0x40 | base >> 3, 0x0F, 0x18, 0x88 | base & 7);
    } else {
      int registers = 0x80 | (index & 7) << 3 | base & 7;
      bytes(0x40 | index >> 3 << 1 | base >> 3, 0x0F, 0x18, 0x8C, registers);
    }
    number(offset);
  }

  /** An instruction on three registers; one without the operand in the middle has 0 there. */
  public void vector(Operation operation, int to, int first, int second) {
    registers(operation, to, first, second, 0);
  }

  /**
   * The same for the lanes of a mask; the others stay as they are.
   *
   * @param mask 1 to 7
   */
  public void masked(Operation operation, int mask, int to, int first, int second) {
    registers(operation, to, first, second, mask);
  }

  /** The same for the lanes of a mask; the others become 0. */
  public void maskedOrZero(Operation operation, int mask, int to, int first, int second) {
    registers(operation, to, first, second, mask | ZERO);
  }

  private void registers(Operation operation, int to, int first, int second, int flags) {
    evex(operation, to, first, second >> 4, second >> 3 & 1, flags);
    bytes(operation.opcode, 0xC0 | (to & 7) << 3 | second & 7);
  }

  /**
   * An instruction whose last operand is in memory, at {@code base + 4 index + offset}.
   *
   * @param first the other operand, 0 if there is none
   */
  public void vector(Operation operation, int to, int first, int base, int index, int offset) {
    memory(operation, to, first, new Address(base, index, offset), 0);
  }

  /** The same whose last operand is one number in memory, for all lanes. */
  public void vectorOfOne(Operation operation, int to, int first, int base, int index, int offset) {
    memory(operation, to, first, new Address(base, index, offset), BROADCAST);
  }

  /** A vector of 16 times the same 32 bits; changes {@link #RAX}. */
  public void constant(int to, int bits) {
    bytes(0xB8); // mov eax, ...
    number(bits);
    vector(Operation.BROADCAST_REGISTER, to, 0, RAX);
  }

  /** A vector of 8 times the same 64 bits; changes {@link #RAX}. */
  public void wideConstant(int to, long bits) {
    bytes(0x48, 0xB8); // mov rax, ...
    number((int) bits);
    number((int) (bits >>> Integer.SIZE));
    vector(Operation.BROADCAST_LONG, to, 0, RAX);
  }

  /** The same for the lanes of a mask; the others stay as they are. */
  public void masked(Operation operation, int mask, int to, int base) {
    memory(operation, to, 0, new Address(base, NO_INDEX, 0), mask);
  }

  /** The same for the lanes of a mask; the others become 0, and their memory is not read. */
  public void maskedOrZero(Operation operation, int mask, int to, int base) {
    memory(operation, to, 0, new Address(base, NO_INDEX, 0), mask | ZERO);
  }

  private static void requireNoIndexNeeded(int base) {
    if ((base & 7) == 4) {
      throw new IllegalArgumentException("register " + base + " needs an index");
    }
  }

  private record Address(int base, int index, int offset) {}

  private void memory(Operation operation, int to, int first, Address at, int flags) {
    boolean indexed = at.index != NO_INDEX;
    if (!indexed) {
      requireNoIndexNeeded(at.base);
    }
    evex(operation, to, first, indexed ? at.index >> 3 : 0, at.base >> 3, flags);
    if (indexed) {
      bytes(operation.opcode, 0x84 | (to & 7) << 3, 0x80 | (at.index & 7) << 3 | at.base & 7);
    } else {
      bytes(operation.opcode, 0x80 | (to & 7) << 3 | at.base & 7);
    }
    number(at.offset);
  }

  /** The prefix of vector instructions: highest bits of registers are inverted. */
  private void evex(
      Operation operation, int to, int first, int indexHigh, int baseHigh, int flags) {
    bytes(
        0x62,
        (~to >> 3 & 1) << 7
            | (~indexHigh & 1) << 6
            | (~baseHigh & 1) << 5
            | (~to >> 4 & 1) << 4
            | operation.map,
        (~first & 15) << 3 | 4 | operation.prefix,
        0x40 | (~first >> 4 & 1) << 3 | flags);
  }
}
