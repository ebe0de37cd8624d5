package org.eellm.kernel.machine;

import org.eellm.kernel.vector.CpuFlags;
import org.eellm.kernel.vector.NativeFunction;

/**
 * The system's permission to use tiles (AMX), without which their instructions end the process. It
 * is for all threads, and for good.
 */
final class TilePermission {
  private static final long ARCH_PRCTL = 158; // a number of Linux on x86-64
  private static final long REQUEST = 0x1023;
  private static final long TILE_DATA = 18;

  private static final boolean GRANTED =
      CpuFlags.all().contains("amx_tile")
          && NativeFunction.ofSystem("syscall")
              .filter(system -> system.call(ARCH_PRCTL, REQUEST, TILE_DATA, 0) == 0)
              .isPresent();

  private TilePermission() {}

  /** Whether threads of this process may use tiles. */
  static boolean isGranted() {
    return GRANTED;
  }
}
