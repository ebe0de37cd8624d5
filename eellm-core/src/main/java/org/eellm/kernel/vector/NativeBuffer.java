package org.eellm.kernel.vector;

import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Zeroed native memory that takes physical memory page by page when first touched. From 2 MiB on it
 * lies on huge pages, the last part too, where the system offers them: with pages of 4 KiB a tenth
 * to a third of the memory's rate is lost to address translation. Smaller buffers are not worth a
 * huge page, which takes a tenth of a millisecond to clear.
 */
public final class NativeBuffer implements AutoCloseable {
  /** Bytes from which a buffer lies on huge pages. */
  public static final long HUGE_PAGE = 2L << 20;

  private static final Optional<Pages> PAGES = Pages.find();
  private static final AtomicLong TOTAL = new AtomicLong();

  private final long address;
  private final long bytes;
  private final Runnable free;
  private boolean closed;

  private NativeBuffer(long address, long bytes, Runnable free) {
    this.address = address;
    this.bytes = bytes;
    this.free = free;
    TOTAL.addAndGet(bytes);
  }

  /** Bytes of all buffers of this process together, touched or not. */
  public static long totalBytes() {
    return TOTAL.get();
  }

  /**
   * Memory that is freed by {@link #close} alone.
   *
   * @throws OutOfMemoryError if the system refuses
   */
  public static NativeBuffer allocate(long bytes) {
    if (bytes < 0) {
      throw new IllegalArgumentException("a buffer of " + bytes + " bytes");
    }
    if (PAGES.isPresent()) {
      boolean isSmall = bytes < HUGE_PAGE;
      long length =
          isSmall ? Math.max(bytes, 1) : Math.ceilDiv(bytes, HUGE_PAGE) * HUGE_PAGE + HUGE_PAGE;
      Pages pages = PAGES.get();
      long start = pages.reserve(length);
      if (start == Pages.NONE) {
        throw new OutOfMemoryError(
            "the system refuses %d MiB of native memory".formatted(length >> 20));
      }
      long first = isSmall ? start : Math.ceilDiv(start, HUGE_PAGE) * HUGE_PAGE;
      return new NativeBuffer(first, bytes, () -> pages.free(start, length));
    }
    Arena arena = Arena.ofShared();
    return new NativeBuffer(
        arena.allocate(bytes, NativeNumbers.ALIGNMENT).address(), bytes, arena::close);
  }

  /** Of the first byte; a multiple of 64. */
  public long address() {
    return address;
  }

  public long bytes() {
    return bytes;
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      TOTAL.addAndGet(-bytes);
      free.run();
    }
  }

  /** A system's pages of memory, which are zeroed, and taken when they are first touched. */
  private sealed interface Pages {
    long NONE = 0;

    static Optional<Pages> find() {
      return switch (System.getProperty("os.name").split(" ")[0]) {
        case "Linux" -> Optional.of(Mapping.find(true));
        case "Mac" -> Optional.of(Mapping.find(false));
        case "Windows" -> Optional.of(Virtual.find());
        default -> Optional.empty();
      };
    }

    /** Address of so many bytes, or {@link #NONE}; if they are many, of huge pages. */
    long reserve(long length);

    void free(long start, long length);
  }

  /** POSIX memory mapping, of Linux or macOS. */
  private record Mapping(
      NativeFunction map, NativeFunction unmap, NativeFunction advise, boolean isLinux)
      implements Pages {
    private static final int READ_WRITE = 3;
    private static final int PRIVATE_ANONYMOUS = 0x22;
    private static final int PRIVATE_ANONYMOUS_OF_MACOS = 0x1002;
    private static final int ADVISE_HUGE_PAGES = 14;

    static Mapping find(boolean isLinux) {
      return new Mapping(
          NativeFunction.ofSystem("mmap").orElseThrow(),
          NativeFunction.ofSystem("munmap").orElseThrow(),
          NativeFunction.ofSystem("madvise").orElseThrow(),
          isLinux);
    }

    @Override
    public long reserve(long length) {
      int flags = isLinux ? PRIVATE_ANONYMOUS : PRIVATE_ANONYMOUS_OF_MACOS;
      long start = map.call(0, length, READ_WRITE, flags, -1, 0, 0, 0);
      if (start == -1) {
        return NONE;
      }
      if (isLinux && length > HUGE_PAGE) { // without huge pages everything works, a little slower
        advise.call(start, length, ADVISE_HUGE_PAGES, 0);
      }
      return start;
    }

    @Override
    public void free(long start, long length) {
      unmap.call(start, length, 0, 0);
    }
  }

  /** Virtual memory of Windows, all of which counts against its limit, touched or not. */
  private record Virtual(NativeFunction allocate, NativeFunction release) implements Pages {
    private static final int RESERVE_AND_COMMIT = 0x3000;
    private static final int READ_WRITE = 4;
    private static final int RELEASE = 0x8000;

    static Virtual find() {
      SymbolLookup kernel = SymbolLookup.libraryLookup("kernel32", Arena.global());
      return new Virtual(
          new NativeFunction(kernel.findOrThrow("VirtualAlloc")),
          new NativeFunction(kernel.findOrThrow("VirtualFree")));
    }

    @Override
    public long reserve(long length) {
      return allocate.call(0, length, RESERVE_AND_COMMIT, READ_WRITE);
    }

    @Override
    public void free(long start, long length) {
      release.call(start, 0, RELEASE, 0);
    }
  }
}
