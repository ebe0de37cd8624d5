package org.eellm.kernel.vector;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.util.Objects;

/** Integers in native memory, where machine code reads them. */
public final class NativeInts implements AutoCloseable {
  private final NativeBuffer memory;
  private final int length;

  /** So many zeros. */
  public NativeInts(int length) {
    this.length = length;
    memory = NativeBuffer.allocate((long) Integer.BYTES * length);
  }

  public int length() {
    return length;
  }

  /** Address of a number. */
  public long address(int index) {
    return memory.address() + (long) Integer.BYTES * index;
  }

  public int get(int index) {
    return Lanes.MEMORY.get(JAVA_INT_UNALIGNED, address(Objects.checkIndex(index, length)));
  }

  public void set(int index, int value) {
    Lanes.MEMORY.set(JAVA_INT_UNALIGNED, address(Objects.checkIndex(index, length)), value);
  }

  /** Begins with these numbers. */
  public void copy(int[] numbers) {
    Objects.checkFromIndexSize(0, numbers.length, length);
    MemorySegment.copy(numbers, 0, Lanes.MEMORY, JAVA_INT_UNALIGNED, address(0), numbers.length);
  }

  @Override
  public void close() {
    memory.close();
  }
}
