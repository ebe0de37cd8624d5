package org.eellm.kernel.vector;

import java.lang.foreign.Arena;
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

  private static final Optional<Mapping> MAPPING = Mapping.find();
  private static final AtomicLong TOTAL = new AtomicLong();
  private static volatile boolean guarded;

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
    if (MAPPING.isPresent() && guarded) {
      return MAPPING.get().allocateGuarded(bytes);
    }
    if (MAPPING.isPresent() && bytes < HUGE_PAGE) {
      Mapping mapping = MAPPING.get();
      long length = Math.max(bytes, 1);
      long start = mapping.map(length);
      return new NativeBuffer(start, bytes, () -> mapping.unmap(start, length));
    }
    if (MAPPING.isPresent()) {
      Mapping mapping = MAPPING.get();
      long length = Math.ceilDiv(bytes, HUGE_PAGE) * HUGE_PAGE + HUGE_PAGE;
      long start = mapping.map(length);
      mapping.adviseHugePages(start, length);
      return new NativeBuffer(
          Math.ceilDiv(start, HUGE_PAGE) * HUGE_PAGE, bytes, () -> mapping.unmap(start, length));
    }
    Arena arena = Arena.ofShared();
    return new NativeBuffer(
        arena.allocate(bytes, NativeNumbers.ALIGNMENT).address(), bytes, arena::close);
  }

  /** From now on a page that nobody may touch follows each buffer, on Linux: for tests. */
  static void guard() {
    guarded = true;
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

  /** POSIX memory mapping, as Linux has it. */
  private record Mapping(NativeFunction map, NativeFunction unmap, NativeFunction advise) {
    private static final int READ_WRITE = 3;
    private static final int PRIVATE_ANONYMOUS = 0x22;
    private static final int ADVISE_HUGE_PAGES = 14;
    private static final long PAGE = 64 << 10; // of any processor

    static Optional<Mapping> find() {
      return System.getProperty("os.name").equals("Linux")
          ? Optional.of(
              new Mapping(
                  NativeFunction.ofSystem("mmap").orElseThrow(),
                  NativeFunction.ofSystem("munmap").orElseThrow(),
                  NativeFunction.ofSystem("madvise").orElseThrow()))
          : Optional.empty();
    }

    long map(long length) {
      long start = map.call(0, length, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0, 0, 0);
      if (start == -1) {
        throw new OutOfMemoryError(
            "the system refuses %d MiB of native memory".formatted(length >> 20));
      }
      return start;
    }

    NativeBuffer allocateGuarded(long bytes) {
      long room = Math.ceilDiv(bytes, PAGE) * PAGE;
      long start = map(room + PAGE);
      NativeFunction protect = NativeFunction.ofSystem("mprotect").orElseThrow();
      if (protect.call(start + room, PAGE, 0, 0) != 0) {
        throw new IllegalStateException("the system protects no memory");
      }
      long aligned = Math.ceilDiv(bytes, NativeNumbers.ALIGNMENT) * NativeNumbers.ALIGNMENT;
      return new NativeBuffer(
          start + room - aligned, bytes, () -> unmap.call(start, room + PAGE, 0, 0));
    }

    /** Without huge pages everything works, a little slower. */
    void adviseHugePages(long start, long length) {
      advise.call(start, length, ADVISE_HUGE_PAGES, 0);
    }

    void unmap(long start, long length) {
      unmap.call(start, length, 0, 0);
    }
  }
}
