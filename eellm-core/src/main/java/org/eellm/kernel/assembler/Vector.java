package org.eellm.kernel.assembler;

/**
 * A vector register.
 *
 * @param number in the encoding; those from 16 on have EVEX encodings alone
 * @param bits 512 (zmm), 256 (ymm), 128 (xmm), or {@link #WHOLE}
 * @param mask the register of the mask of lanes that an instruction writes; 0 for all
 * @param zeroing whether the other lanes become 0; else they stay as they are
 */
public record Vector(int number, int bits, int mask, boolean zeroing) implements Operand {
  /** As wide as the vectors of the function that is written. */
  public static final int WHOLE = 0;

  public static Vector of(int number, int bits) {
    return new Vector(number, bits, 0, false);
  }

  public static Vector zmm(int number) {
    return of(number, 512);
  }

  public Vector plus(int count) {
    return of(number + count, bits);
  }

  /** The lower half of a zmm. */
  public Vector ymm() {
    return of(number, 256);
  }

  /** The lowest lanes. */
  public Vector xmm() {
    return of(number, 128);
  }

  /** The lanes of a mask; others stay as they are. */
  public Vector masked(Mask lanes) {
    return new Vector(number, bits, lanes.number(), false);
  }

  /** The lanes of a mask; others become 0. */
  public Vector zeroing(Mask lanes) {
    return new Vector(number, bits, lanes.number(), true);
  }
}
