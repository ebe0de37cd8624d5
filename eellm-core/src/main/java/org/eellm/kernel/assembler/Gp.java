package org.eellm.kernel.assembler;

/**
 * A general register, or its lower bits.
 *
 * @param number in the encoding
 * @param bits 64, 32 or 16
 */
public record Gp(int number, int bits) implements Operand {

  /** Its lower 32 bits. */
  public Gp dword() {
    return new Gp(number, Integer.SIZE);
  }
}
