package org.eellm.kernel.product;

import static org.eellm.kernel.vector.NativeNumbers.WIDTH;

import org.eellm.kernel.machine.RowFunctions;
import org.eellm.kernel.vector.FloatArray;

/**
 * Rounds groups of numbers to 8 bits, as {@link GroupRows} has them. Numbers below 1e-30 become 0;
 * a group with a NaN or an infinite number becomes NaN.
 */
public final class GroupQuantizer {
  /** Numbers of the shortest vector that can be stored as bytes. */
  static final int LEAST_WIDTH = 8;

  private GroupQuantizer() {}

  /**
   * Stores groups for machine code.
   *
   * @param count of groups
   * @param to address
   */
  static void store(FloatArray x, int from, int group, int count, long to) {
    if (!RowFunctions.work() || group % WIDTH != 0) {
      VectorGroups.store(x.values(), from, group, count, to);
      return;
    }
    long bytes = group + 4L * GroupRows.MORE_UNITS;
    for (int g = 0; g < count; g++) {
      RowFunctions.quantize(x, from + g * group, group, to + g * bytes);
    }
  }
}
