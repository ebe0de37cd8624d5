package org.eellm.kernel;

import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeFunction;

/** Native memory behind which nothing may be touched, where the system is Linux. */
record GuardedMemory(NativeBuffer pages, long address, long bytes) implements AutoCloseable {
  private static final long PAGE = 64 << 10; // of any processor

  static GuardedMemory allocate(long bytes) {
    long room = Math.ceilDiv(bytes, PAGE) * PAGE;
    NativeBuffer pages = NativeBuffer.allocate(room + PAGE);
    if (System.getProperty("os.name").equals("Linux")) {
      NativeFunction protect = NativeFunction.ofSystem("mprotect").orElseThrow();
      if (protect.call(pages.address() + room, PAGE, 0, 0) != 0) {
        throw new IllegalStateException("the system protects no memory");
      }
    }
    return new GuardedMemory(pages, pages.address() + room - bytes, bytes);
  }

  @Override
  public void close() {
    pages.close();
  }
}
