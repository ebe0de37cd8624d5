package org.eellm.kernel.machine;

/**
 * Encodes what a function needs that calls others: general registers and memory, comparisons, jumps
 * and calls. Memory is at a register and an offset; the register is none of {@code rsp} and {@code
 * r12}.
 */
public record ControlCode(MachineCode code) {
  /** What a comparison found, by its number in the encoding. */
  public enum Condition {
    BELOW_OR_EQUAL(6), // also of floats, and where one is NaN
    EQUAL(4),
    LESS(12),
    GREATER(15);

    private final int number;

    Condition(int number) {
      this.number = number;
    }
  }

  private static final int WIDE = 8; // in rex: the operands have 64 bits

  private static final int SAVED_BYTES = 40; // with six registers and the return address, whole 16s

  /**
   * Saves the registers that a function gives back, and makes room on the stack for {@link #put}.
   */
  public void begin() {
    code.bytes(0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57); // push rbx, rbp, r12-15
    code.bytes(0x48, 0x83, 0xEC, SAVED_BYTES); // sub rsp, ...
  }

  /** Gives them back, and returns. */
  public void end() {
    code.bytes(0x48, 0x83, 0xC4, SAVED_BYTES); // add rsp, ...
    code.bytes(0x41, 0x5F, 0x41, 0x5E, 0x41, 0x5D, 0x41, 0x5C, 0x5D, 0x5B, 0xC3); // pop ...; ret
  }

  /**
   * Writes a place of the stack: 0 and 1 are the seventh and eighth parameter of what is called, 2
   * to 4 keep what the calls leave alone.
   */
  public void put(int place, int from) {
    stack(0x89, from, place * Long.BYTES);
  }

  /** Reads a place of the stack. */
  public void get(int to, int place) {
    stack(0x8B, to, place * Long.BYTES);
  }

  private void stack(int opcode, int register, int offset) {
    code.bytes(rex(register, 0, 0), opcode, 0x84 | (register & 7) << 3, 0x24);
    code.number(offset);
  }

  private static int rex(int register, int index, int base) {
    return 0x48 | register >> 3 << 2 | index >> 3 << 1 | base >> 3;
  }

  /** 64 bits from memory. */
  public void load(int to, int base, int offset) {
    code.bytes(rex(to, 0, base), 0x8B);
    memory(to, base, offset);
  }

  /** 64 bits to memory. */
  public void store(int base, int offset, int from) {
    code.bytes(rex(from, 0, base), 0x89);
    memory(from, base, offset);
  }

  /** Adds 64 bits in memory. */
  public void add(int to, int base, int offset) {
    code.bytes(rex(to, 0, base), 0x03);
    memory(to, base, offset);
  }

  /** Multiplies with a constant. */
  public void multiply(int register, int by) {
    code.bytes(rex(register, 0, register), 0x69, 0xC0 | (register & 7) << 3 | register & 7);
    code.number(by);
  }

  /** Multiplies with 64 bits in memory. */
  public void multiply(int to, int base, int offset) {
    code.bytes(rex(to, 0, base), 0x0F, 0xAF);
    memory(to, base, offset);
  }

  private void memory(int register, int base, int offset) {
    if ((base & 7) == 4) {
      throw new IllegalArgumentException("register " + base + " needs an index");
    }
    code.bytes(0x80 | (register & 7) << 3 | base & 7);
    code.number(offset);
  }

  /** 32 bits, without a sign, from {@code base + 4 index + offset}. */
  public void loadInt(int to, int base, int index, int offset) {
    ints(0x8B, to, base, index);
    code.number(offset);
  }

  /** The lower 32 bits to {@code base + 4 index + offset}. */
  public void storeInt(int base, int index, int offset, int from) {
    ints(0x89, from, base, index);
    code.number(offset);
  }

  private void ints(int opcode, int register, int base, int index) {
    code.bytes(rex(register, index, base) & ~WIDE, opcode, 0x84 | (register & 7) << 3);
    code.bytes(0x80 | (index & 7) << 3 | base & 7);
  }

  /** A constant, with its sign. */
  public void constant(int to, int value) {
    code.bytes(rex(0, 0, to), 0xC7, 0xC0 | to & 7);
    code.number(value);
  }

  public void subtract(int from, int by) {
    registers(0x29, from, by);
  }

  /** Compares two registers. */
  public void compare(int first, int second) {
    registers(0x39, first, second);
  }

  private void registers(int opcode, int first, int second) {
    code.bytes(rex(second, 0, first), opcode, 0xC0 | (second & 7) << 3 | first & 7);
  }

  /** Compares the lower 32 bits of two registers. */
  public void compareInts(int first, int second) {
    code.bytes(rex(second, 0, first) & ~WIDE, 0x39, 0xC0 | (second & 7) << 3 | first & 7);
  }

  /** Compares a register with a constant. */
  public void compareWith(int register, int constant) {
    code.bytes(rex(0, 0, register), 0x81, 0xF8 | register & 7);
    code.number(constant);
  }

  /** Multiplies with a power of two. */
  public void shiftLeft(int register, int bits) {
    code.bytes(rex(0, 0, register), 0xC1, 0xE0 | register & 7, bits);
  }

  /** Divides by a power of two. */
  public void shiftRight(int register, int bits) {
    code.bytes(rex(0, 0, register), 0xC1, 0xF8 | register & 7, bits);
  }

  /** Moves where the last comparison found something. */
  public void moveIf(Condition condition, int to, int from) {
    code.bytes(rex(to, 0, from), 0x0F, 0x40 | condition.number, 0xC0 | (to & 7) << 3 | from & 7);
  }

  /** Makes a register at most a constant; changes another. */
  public void atMost(int register, int constant, int free) {
    constant(free, constant);
    compare(register, free);
    moveIf(Condition.GREATER, register, free);
  }

  /** Makes a register at least 0; changes another. */
  public void notNegative(int register, int free) {
    constant(free, 0);
    compare(register, free);
    moveIf(Condition.LESS, register, free);
  }

  /** Jumps back to a position where the last comparison found something. */
  public void jumpBackIf(Condition condition, int position) {
    code.bytes(0x0F, 0x80 | condition.number);
    code.distanceTo(position);
  }

  /**
   * Jumps over what is written until {@link MachineCode#land}, where the last comparison found
   * something.
   */
  public int jumpAheadIf(Condition condition) {
    code.bytes(0x0F, 0x80 | condition.number);
    return code.distanceAhead();
  }

  /** Calls the function whose address a register has. */
  public void call(int register) {
    code.bytes(0x40 | register >> 3, 0xFF, 0xD0 | register & 7);
  }

  /** Compares the numbers whose bits two registers have; changes vector registers 0 and 1. */
  public void compareFloats(int first, int second) {
    floatRegister(0, first);
    floatRegister(1, second);
    code.bytes(0xC5, 0xF8, 0x2F, 0xC1); // vcomiss xmm0, xmm1
  }

  private void floatRegister(int to, int from) {
    code.bytes(0xC4, from > 7 ? 0xC1 : 0xE1, 0x79, 0x6E, 0xC0 | to << 3 | from & 7); // vmovd
  }

  /** As many ones as {@code r11} says, in {@code rdx}; it says 64 at most. */
  public void onesInRdx() {
    constant(MachineCode.RDX, -1);
    code.bytes(0xC4, 0xE2, 0xA0, 0xF5, 0xD2); // bzhi rdx, rdx, r11
  }

  /** Mask 1 from the lowest bits of {@code rdx}. */
  public void maskFromRdx() {
    code.bytes(0xC5, 0xF8, 0x92, 0xCA); // kmovw k1, edx
  }
}
