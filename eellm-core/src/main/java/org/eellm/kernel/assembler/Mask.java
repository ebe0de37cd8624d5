package org.eellm.kernel.assembler;

/**
 * A register of masks.
 *
 * @param number 1 to 7
 * @param mask of lanes that a comparison looks at; 0 for all
 */
public record Mask(int number, int mask) implements Operand {

  /** The lanes of a mask; others become 0. */
  public Mask masked(Mask lanes) {
    return new Mask(number, lanes.number);
  }
}
