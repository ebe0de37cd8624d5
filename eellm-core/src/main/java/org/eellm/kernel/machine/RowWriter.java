package org.eellm.kernel.machine;

import static org.eellm.kernel.machine.MachineCode.RDI;
import static org.eellm.kernel.machine.MachineCode.VECTOR_BYTES;

import org.eellm.kernel.machine.MachineCode.Operation;

/**
 * Writes a function that goes through numbers of a row, 16 at a time; the shared parts of {@link
 * RowCode}, {@link ActivationCode}, {@link RoundingCode}, {@link LogitCode} and {@link
 * SamplingCode}.
 *
 * <p>Functions take addresses, sizes and the bits of float32 numbers. A count need not be a
 * multiple of anything, and is their third parameter; with arrays, the first of the four behind
 * them.
 *
 * @param code so far
 */
record RowWriter(MachineCode code) {
  static final int LANES = VECTOR_BYTES / Float.BYTES;
  static final int MASK = 1; // of the lanes that count

  // Registers of functions that have no exponentials.
  static final int A = 0;
  static final int B = 1;
  static final int C = 2;
  static final int D = 3;
  static final int E = 4;
  static final int F = 5;

  // Registers that exponentials leave alone.
  static final int FIRST = 6;
  static final int SECOND = 7;
  static final int SUM = 8;

  RowWriter() {
    this(new MachineCode());
  }

  /** The function. */
  byte[] end() {
    code.end();
    return code.toByteArray();
  }

  /** Runs a body for the next 16 numbers, those in the mask, until all have been. */
  void each(Runnable body) {
    int start = code.position();
    code.bytes(0x41, 0xBB, LANES, 0, 0, 0); // mov r11d, 16
    code.bytes(0x4C, 0x39, 0xDA); // cmp rdx, r11
    code.bytes(0x4C, 0x0F, 0x4C, 0xDA); // cmovl r11, rdx
    code.bytes(0xB8, 0xFF, 0xFF, 0, 0); // mov eax, 0xFFFF
    code.bytes(0xC4, 0xE2, 0x20, 0xF5, 0xC0); // bzhi eax, eax, r11d
    code.bytes(0xC5, 0xF8, 0x92, 0xC8); // kmovw k1, eax
    body.run();
    code.bytes(0x48, 0x83, 0xEA, LANES); // sub rdx, 16
    code.bytes(0x0F, 0x8F); // jg
    code.distanceTo(start);
  }

  /** Loads the next numbers in the mask. */
  void load(int to, int base) {
    code.maskedOrZero(Operation.LOAD_FLOATS, MASK, to, base);
  }

  /** Stores the next numbers in the mask. */
  void store(int from, int base) {
    code.masked(Operation.STORE_FLOATS, MASK, from, base);
  }

  /** Goes on by a vector. */
  void advance(int... registers) {
    for (int register : registers) {
      code.advance(register, VECTOR_BYTES);
    }
  }

  /** Goes on by a vector of x, while rsi counts any. */
  void nextVector(int start) {
    code.advance(RDI, VECTOR_BYTES);
    code.bytes(0x48, 0xFF, 0xCE, 0x0F, 0x85); // dec rsi; jnz
    code.distanceTo(start);
  }

  /** Goes on while rdx counts any numbers, 16 at a time. */
  void next16(int start) {
    code.bytes(0x48, 0x83, 0xEA, LANES, 0x0F, 0x8F); // sub rdx, 16; jg
    code.distanceTo(start);
  }
}
