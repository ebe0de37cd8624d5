package org.eellm.kernel.weight;

import org.eellm.kernel.assembler.Disassembly;
import org.junit.jupiter.api.Test;

/** The machine code that packs weights is that of its listings. */
final class WeightListingsTest {

  @Test
  void packing_isThatOfItsListing() throws Exception {
    Disassembly.check("weight-packing", PackCode.code());
  }

  @Test
  void roundingTo4Bits_isThatOfItsListing() throws Exception {
    Disassembly.check("weight-rounding-to-4-bits", Int4Code.code(512));
    Disassembly.check("weight-rounding-to-4-bits-avx2", Int4Code.code(256));
  }
}
