package org.eellm.tensor;

import java.lang.foreign.Arena;
import org.eellm.kernel.vector.NativeFunction;

/**
 * The process's environment as native libraries read it, which Java's own methods cannot change.
 */
final class NativeEnvironment {
  private NativeEnvironment() {}

  /** Sets a variable that the user has not set; on Windows, nothing. */
  static void setUnlessSet(String name, String value) {
    NativeFunction.ofSystem("setenv")
        .ifPresent(
            function -> {
              try (Arena arena = Arena.ofConfined()) {
                long address = arena.allocateFrom(name).address();
                function.call(address, arena.allocateFrom(value).address(), 0, 0);
              }
            });
  }
}
