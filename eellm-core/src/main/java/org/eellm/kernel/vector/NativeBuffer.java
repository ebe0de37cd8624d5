package org.eellm.kernel.vector;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Optional;

/**
 * Zeroed native memory that takes physical memory page by page when first touched. From 2 MiB on it
 * lies on huge pages where the system offers them: with pages of 4 KiB a tenth to a third of the
 * memory's rate is lost to address translation. Smaller buffers are not worth a huge page, which
 * takes a tenth of a millisecond to clear.
 */
public final class NativeBuffer implements AutoCloseable {
  private static final long HUGE_PAGE = 2L << 20;
  private static final Optional<Mapping> MAPPING = Mapping.find();

  private final long address;
  private final long bytes;
  private final Runnable free;
  private boolean closed;

  private NativeBuffer(long address, long bytes, Runnable free) {
    this.address = address;
    this.bytes = bytes;
    this.free = free;
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
    if (MAPPING.isPresent() && bytes < HUGE_PAGE) {
      Mapping mapping = MAPPING.get();
      long length = Math.max(bytes, 1);
      long start = mapping.map(length);
      return new NativeBuffer(start, bytes, () -> mapping.unmap(start, length));
    }
    if (MAPPING.isPresent()) {
      Mapping mapping = MAPPING.get();
      long length = bytes + HUGE_PAGE;
      long start = mapping.map(length);
      mapping.adviseHugePages(start, length);
      return new NativeBuffer(
          Math.ceilDiv(start, HUGE_PAGE) * HUGE_PAGE, bytes, () -> mapping.unmap(start, length));
    }
    Arena arena = Arena.ofShared();
    return new NativeBuffer(arena.allocate(bytes, Lanes.ALIGNMENT).address(), bytes, arena::close);
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
      free.run();
    }
  }

  /** POSIX memory mapping, as Linux has it. */
  private record Mapping(MethodHandle map, MethodHandle unmap, MethodHandle advise) {
    private static final int READ_WRITE = 3;
    private static final int PRIVATE_ANONYMOUS = 0x22;
    private static final int ADVISE_HUGE_PAGES = 14;

    static Optional<Mapping> find() {
      if (!System.getProperty("os.name").equals("Linux")) {
        return Optional.empty();
      }
      Linker linker = Linker.nativeLinker();
      SymbolLookup system = linker.defaultLookup();
      ValueLayout.OfLong address = ValueLayout.JAVA_LONG;
      ValueLayout.OfInt number = ValueLayout.JAVA_INT;
      return Optional.of(
          new Mapping(
              linker.downcallHandle(
                  system.findOrThrow("mmap"),
                  FunctionDescriptor.of(
                      address, address, address, number, number, number, address)),
              linker.downcallHandle(
                  system.findOrThrow("munmap"), FunctionDescriptor.of(number, address, address)),
              linker.downcallHandle(
                  system.findOrThrow("madvise"),
                  FunctionDescriptor.of(number, address, address, number))));
    }

    long map(long length) {
      try {
        long start = (long) map.invokeExact(0L, length, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0L);
        if (start == -1) {
          throw new OutOfMemoryError(
              "the system refuses %d MiB of native memory".formatted(length >> 20));
        }
        return start;
      } catch (RuntimeException | Error e) {
        throw e;
      } catch (Throwable e) {
        throw new LinkageError("mmap", e);
      }
    }

    /** Without huge pages everything works, a little slower. */
    void adviseHugePages(long start, long length) {
      try {
        int _ = (int) advise.invokeExact(start, length, ADVISE_HUGE_PAGES);
      } catch (Throwable e) {
        throw new LinkageError("madvise", e);
      }
    }

    void unmap(long start, long length) {
      try {
        int _ = (int) unmap.invokeExact(start, length);
      } catch (Throwable e) {
        throw new LinkageError("munmap", e);
      }
    }
  }
}
