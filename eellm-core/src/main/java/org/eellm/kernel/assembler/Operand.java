package org.eellm.kernel.assembler;

/** An operand of an instruction: a register or a place in memory. */
public sealed interface Operand permits Gp, Vector, Mask, Tile, Memory {
  /** The register of the mask of lanes that an instruction writes here; 0 for all lanes. */
  default int mask() {
    return 0;
  }

  /** Whether the other lanes become 0. */
  default boolean zeroing() {
    return false;
  }
}
