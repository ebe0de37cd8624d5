package org.eellm.kernel.row;

import java.util.Locale;
import org.eellm.kernel.assembler.Disassembly;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The machine code for rows is that of its listings. */
final class RowListingsTest {

  @ParameterizedTest
  @EnumSource
  void code_isThatOfItsListing(MachineRows.Name name) throws Exception {
    String listing = "row-" + name.name().toLowerCase(Locale.ROOT).replace('_', '-');
    Disassembly.check(listing, name.code(512));
    if (MachineRows.Name.of(256).contains(name) && name != MachineRows.Name.CALLS) {
      Disassembly.check(listing + "-avx2", name.code(256));
    }
  }
}
