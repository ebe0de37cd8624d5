package org.eellm.kernel.matmul;

import java.util.Locale;
import org.eellm.kernel.assembler.Disassembly;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.weight.WeightFormat;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The machine code of products is that of its listings: of one and six rows, and of two rows on
 * Intel's processors, where three streams of weights are read.
 */
final class ProductListingsTest {

  @ParameterizedTest
  @EnumSource
  void code_isThatOfItsListing(WeightFormat format) throws Exception {
    String name = "product-" + format.name().toLowerCase(Locale.ROOT);
    for (int rows : new int[] {1, BlockCode.MOST_ROWS}) {
      Disassembly.check(name + "-" + rows, code(format, rows, false));
    }
    Disassembly.check(name + "-2-streams", code(format, 2, true));
  }

  private static MachineCode code(WeightFormat format, int rows, boolean intel) {
    return format.hasGroups()
        ? VnniCode.of(format.bits(), rows, intel)
        : DotCode.of(format, rows, intel);
  }
}
