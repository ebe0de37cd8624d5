package org.eellm.kernel.machine;

import org.eellm.kernel.assembler.Disassembly;
import org.junit.jupiter.api.Test;

/** The machine code that reads memory is that of its listing. */
final class MemoryListingTest {

  @Test
  void reading_isThatOfItsListing() throws Exception {
    Disassembly.check("memory-reading", new MemoryBandwidth.Code(512).reading());
    Disassembly.check("memory-reading-avx2", new MemoryBandwidth.Code(256).reading());
  }
}
