package org.eellm.tensor;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.ValueLayout;
import java.util.Optional;

/**
 * What the C library has given out, of which tensors are by far the most; Java's heap, which grows
 * and shrinks by itself, is not in it.
 */
public final class NativeAllocation {
  private static final MemoryLayout MALLINFO =
      MemoryLayout.structLayout(MemoryLayout.sequenceLayout(10, ValueLayout.JAVA_LONG));

  private static final int IN_MAPPINGS = 4; // hblkhd
  private static final int IN_BLOCKS = 7; // uordblks

  private NativeAllocation() {}

  /** Bytes that have not been given back. Ends a test as skipped where nothing tells them. */
  public static long bytes() {
    Linker linker = Linker.nativeLinker();
    Optional<MemorySegment> function = linker.defaultLookup().find("mallinfo2");
    assumeTrue(function.isPresent(), "no mallinfo2, which glibc has since 2.33");
    assumeTrue("1".equals(System.getenv("MALLOC_ARENA_MAX")), "mallinfo2 sees one arena only");
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment info =
          (MemorySegment)
              linker
                  .downcallHandle(function.orElseThrow(), FunctionDescriptor.of(MALLINFO))
                  .invokeExact((SegmentAllocator) arena);
      return info.getAtIndex(ValueLayout.JAVA_LONG, IN_BLOCKS)
          + info.getAtIndex(ValueLayout.JAVA_LONG, IN_MAPPINGS);
    } catch (Throwable e) {
      throw new LinkageError("mallinfo2", e);
    }
  }
}
