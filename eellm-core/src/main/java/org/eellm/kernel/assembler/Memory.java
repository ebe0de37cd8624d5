package org.eellm.kernel.assembler;

import java.util.Optional;

/**
 * A place in memory: {@code [base + scale index + displacement]}.
 *
 * @param scale 1, 2, 4 or 8
 * @param broadcast whether it is one number, taken for all lanes
 * @param mask the register of the mask of lanes that an instruction writes; 0 for all
 */
public record Memory(
    Gp base, Optional<Gp> index, int scale, int displacement, boolean broadcast, int mask)
    implements Operand {

  public static Memory at(Gp base) {
    return at(base, 0);
  }

  public static Memory at(Gp base, int displacement) {
    return new Memory(base, Optional.empty(), 1, displacement, false, 0);
  }

  public static Memory at(Gp base, Gp index, int scale, int displacement) {
    return new Memory(base, Optional.of(index), scale, displacement, false, 0);
  }

  public Memory broadcasted() {
    return new Memory(base, index, scale, displacement, true, mask);
  }

  /** The lanes of a mask; what other lanes would write stays as it is. */
  public Memory masked(Mask lanes) {
    return new Memory(base, index, scale, displacement, broadcast, lanes.number());
  }
}
