package org.eellm.kernel.machine;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Optional;

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
    Linker linker = Linker.nativeLinker();
    Optional<MemorySegment> function = linker.defaultLookup().find("mallopt");
    if (function.isEmpty()) {
      return false;
    }
    MethodHandle mallopt =
        linker.downcallHandle(
            function.get(),
            FunctionDescriptor.of(
                ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT));
    return set(mallopt, "MALLOC_MMAP_MAX_", MMAP_MAX, 0)
        && set(mallopt, "MALLOC_TRIM_THRESHOLD_", TRIM_THRESHOLD, Integer.MAX_VALUE)
        && set(mallopt, "MALLOC_ARENA_MAX", ARENA_MAX, 1);
  }

  private static boolean set(MethodHandle mallopt, String variable, int parameter, int value) {
    if (System.getenv(variable) != null) {
      return true;
    }
    try {
      return (int) mallopt.invokeExact(parameter, value) == 1;
    } catch (Throwable e) { // which a call of C does not throw
      throw new IllegalStateException("mallopt cannot be called", e);
    }
  }
}
