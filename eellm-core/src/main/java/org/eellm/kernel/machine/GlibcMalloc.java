package org.eellm.kernel.machine;

import org.eellm.kernel.vector.NativeFunction;

/**
 * glibc's allocator, as training wants it: the big buffers of tensors stay in the process, since
 * handing them back to the system each time costs up to a fifth of a training step in page faults.
 */
public final class GlibcMalloc {
  private static final int TRIM_THRESHOLD = -1; // the numbers of mallopt
  private static final int MMAP_MAX = -4;
  private static final int ARENA_MAX = -8;

  private GlibcMalloc() {}

  /**
   * Sets it for the whole process, but for what environment variables say already.
   *
   * @return whether this is glibc
   */
  public static boolean keepMemory() {
    if (!System.getProperty("os.name").equals("Linux")) {
      return false;
    }
    return NativeFunction.ofSystem("mallopt")
        .map(
            mallopt ->
                set(mallopt, "MALLOC_MMAP_MAX_", MMAP_MAX, 0)
                    && set(mallopt, "MALLOC_TRIM_THRESHOLD_", TRIM_THRESHOLD, Integer.MAX_VALUE)
                    && set(mallopt, "MALLOC_ARENA_MAX", ARENA_MAX, 1))
        .orElse(false);
  }

  private static boolean set(NativeFunction mallopt, String variable, int parameter, int value) {
    return System.getenv(variable) != null || (int) mallopt.call(parameter, value, 0, 0) == 1;
  }
}
