package org.eellm.kernel.vector;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.util.Objects;

/** A list of integers in native memory, where machine code reads them, and the same in an array. */
public final class NativeInts implements AutoCloseable {
  private final NativeBuffer memory;
  private final int[] numbers;
  private int length;

  public NativeInts(int room) {
    numbers = new int[room];
    memory = NativeBuffer.allocate((long) Integer.BYTES * room);
  }

  public int room() {
    return numbers.length;
  }

  public int length() {
    return length;
  }

  public long address(int index) {
    return memory.address() + (long) Integer.BYTES * index;
  }

  public int get(int index) {
    return numbers[Objects.checkIndex(index, length)];
  }

  /** Becomes the first so many of these numbers. */
  public void copy(int[] others, int count) {
    System.arraycopy(others, 0, numbers, 0, count);
    MemorySegment.copy(
        numbers, 0, NativeNumbers.MEMORY, JAVA_INT_UNALIGNED, memory.address(), count);
    length = count;
  }

  @Override
  public void close() {
    memory.close();
  }
}
