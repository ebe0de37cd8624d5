package org.eellm.kernel.matmul;

import java.util.Locale;
import org.eellm.kernel.assembler.Disassembly;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.weight.WeightFormat;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The machine code of products is that of its listings: of one and six rows; of two on Intel's
 * processors, where three streams of weights are read; of one and two for AVX2, and for AVX-VNNI
 * where there are groups; of one and four for arm64. In the order of tiles of one row, and of 16
 * and 32.
 */
final class ProductListingsTest {

  @ParameterizedTest
  @EnumSource
  void code_isThatOfItsListing(WeightFormat format) throws Exception {
    String name = "product-" + format.name().toLowerCase(Locale.ROOT);
    for (int rows : new int[] {1, BlockCode.MOST_ROWS}) {
      Disassembly.check(name + "-" + rows, code(format, rows, CodeTarget.avx512(false)));
    }
    for (int rows : new int[] {1, 2}) {
      Disassembly.check(name + "-avx2-" + rows, code(format, rows, CodeTarget.AVX2));
      if (format.hasGroups()) {
        Disassembly.check(name + "-avx-vnni-" + rows, code(format, rows, CodeTarget.AVX_VNNI));
      }
    }
    Disassembly.check(name + "-2-streams", code(format, 2, CodeTarget.avx512(true)));
  }

  @Test
  void code_inTheOrderOfTiles_isThatOfItsListing() throws Exception {
    String name = "product-bfloat16-tiles-";
    Disassembly.check(name + "1", HalvesCode.of(CodeTarget.avx512(false)));
    Disassembly.check(name + "1-2-streams", HalvesCode.of(CodeTarget.avx512(true)));
    Disassembly.check(name + AmxCode.TILE_ROWS, AmxCode.few(true));
    Disassembly.check(name + AmxCode.MOST_ROWS, AmxCode.many(true));
  }

  @ParameterizedTest
  @EnumSource
  void code_ofArm64_isThatOfItsListing(WeightFormat format) throws Exception {
    String name = "product-" + format.name().toLowerCase(Locale.ROOT) + "-neon-";
    for (int rows : new int[] {1, NeonCode.MOST_ROWS}) {
      Disassembly.check(name + rows, code(format, rows, CodeTarget.NEON));
    }
    if (format == WeightFormat.BFLOAT16) {
      Disassembly.check(name + "bf16-2", code(format, 2, CodeTarget.NEON_BF16));
    }
  }

  private static MachineCode code(WeightFormat format, int rows, CodeTarget target) {
    return target.code(format, rows);
  }
}
