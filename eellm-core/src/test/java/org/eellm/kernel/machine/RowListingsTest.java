package org.eellm.kernel.machine;

import java.util.Locale;
import org.eellm.kernel.assembler.Disassembly;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The machine code for rows is that of its listings. */
final class RowListingsTest {

  @ParameterizedTest
  @EnumSource
  void code_isThatOfItsListing(RowFunctions.Name name) throws Exception {
    String listing = "row-" + name.name().toLowerCase(Locale.ROOT).replace('_', '-');
    Disassembly.check(listing, name.code());
  }

  @Test
  void reading_isThatOfItsListing() throws Exception {
    Disassembly.check("memory-reading", new MemoryBandwidth.Code().reading());
  }
}
