package org.eellm.distributed.collective;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;

/**
 * Keeps Gloo from writing to stdout, which belongs to what a command was asked for: Gloo tells each
 * connection there, and has no setting for it.
 */
final class GlooStdoutFilter {
  private static final String LIBRARY = "libstdc++.so.6";
  private static final String COUT = "_ZSt4cout";

  /** {@code std::ostream::operator<<(std::streambuf*)}. */
  private static final String INSERT = "_ZNSolsEPSt15basic_streambufIcSt11char_traitsIcEE";

  private GlooStdoutFilter() {}

  /**
   * Puts C++'s {@code std::cout} into its failed state, in which it drops what is written: that is
   * what inserting an absent buffer does. Java's streams do not pass through it. Without GNU's C++
   * library nothing happens.
   */
  static void mute() {
    SymbolLookup library;
    try {
      library = SymbolLookup.libraryLookup(LIBRARY, Arena.global());
    } catch (IllegalArgumentException _) {
      return; // Another C++ library.
    }
    FunctionDescriptor insert =
        FunctionDescriptor.of(ValueLayout.ADDRESS, ValueLayout.ADDRESS, ValueLayout.ADDRESS);
    try {
      MemorySegment _ =
          (MemorySegment)
              Linker.nativeLinker()
                  .downcallHandle(library.findOrThrow(INSERT), insert)
                  .invokeExact(library.findOrThrow(COUT), MemorySegment.NULL);
    } catch (Throwable e) {
      throw new AssertionError(e); // Native code throws nothing.
    }
  }
}
