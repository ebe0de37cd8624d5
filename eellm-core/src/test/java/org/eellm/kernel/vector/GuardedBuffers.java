package org.eellm.kernel.vector;

/** Buffers of native memory behind which nothing may be touched. */
public final class GuardedBuffers {
  private GuardedBuffers() {}

  /** From now on all of this process are, on Linux. */
  public static void begin() {
    NativeBuffer.guard();
  }
}
