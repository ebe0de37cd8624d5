package org.eellm.kernel.vector;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import java.lang.foreign.MemorySegment;

/** Integers in native memory, where machine code reads them, and the same in an array. */
public final class NativeInts implements AutoCloseable {
  private final NativeBuffer memory;
  private final int[] numbers;

  /** So many zeros. */
  public NativeInts(int length) {
    numbers = new int[length];
    memory = NativeBuffer.allocate((long) Integer.BYTES * length);
  }

  public int length() {
    return numbers.length;
  }

  /** Address of a number. */
  public long address(int index) {
    return memory.address() + (long) Integer.BYTES * index;
  }

  public int get(int index) {
    return numbers[index];
  }

  /** Begins with so many of other numbers. */
  public void copy(int[] others, int count) {
    System.arraycopy(others, 0, numbers, 0, count);
    MemorySegment.copy(numbers, 0, Lanes.MEMORY, JAVA_INT_UNALIGNED, memory.address(), count);
  }

  @Override
  public void close() {
    memory.close();
  }
}
