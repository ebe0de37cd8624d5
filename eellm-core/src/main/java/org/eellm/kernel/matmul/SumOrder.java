package org.eellm.kernel.matmul;

import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;
import org.eellm.kernel.vector.CpuLevel;
import org.eellm.kernel.weight.WeightFormat;

/**
 * The order in which a product of bfloat16 adds up. A process has one, so that a row's numbers do
 * not depend on the rows beside it.
 */
public enum SumOrder {
  /** A chain of fused multiplications, of each pair the second first, as {@code vdpbf16ps} has. */
  CHAIN,
  /**
   * Of every 32 inputs a chain of the even ones and one of the odd ones, each from 0; then the two,
   * and then that to the sum, as tiles (AMX) have.
   */
  TILES;

  /** The system property that chooses; without it tiles are taken where a processor has them. */
  public static final String PROPERTY = "eellm.kernel.order";

  /** Inputs that a tile takes at once. */
  static final int TILE_INPUTS = 32;

  /** Made when it is first asked for. */
  private static final class Choice {
    private static final SumOrder ORDER =
        Optional.ofNullable(System.getProperty(PROPERTY))
            .map(name -> of(name).orElseThrow())
            .orElseGet(Choice::fastest);

    /** Looks at the processor first, since code costs time to try. */
    private static SumOrder fastest() {
      return Optional.of(CpuLevel.chosen())
              .filter(level -> level == CpuLevel.AMX)
              .flatMap(_ -> DotKernels.find(WeightFormat.BFLOAT16, TILES))
              .filter(DotKernels::hasTiles)
              .isPresent()
          ? TILES
          : CHAIN;
    }
  }

  /** The process's. */
  public static SumOrder chosen() {
    return Choice.ORDER;
  }

  public static Optional<SumOrder> of(String name) {
    return Arrays.stream(values()).filter(order -> order.text().equals(name)).findFirst();
  }

  /** The process's order for weights of a format; only bfloat16 has a choice. */
  static SumOrder of(WeightFormat format) {
    return format == WeightFormat.BFLOAT16 ? chosen() : CHAIN;
  }

  public String text() {
    return name().toLowerCase(Locale.ROOT);
  }
}
