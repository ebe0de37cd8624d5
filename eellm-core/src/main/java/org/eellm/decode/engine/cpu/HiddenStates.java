package org.eellm.decode.engine.cpu;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.eellm.kernel.vector.NativeBuffer;

/** Hidden states in numbered slots, float32, [slots, width]; more are made when all are taken. */
final class HiddenStates implements AutoCloseable {
  private final int rowBytes;
  private NativeBuffer memory;
  private int[] free;
  private int freeCount;

  HiddenStates(int slots, int width) {
    rowBytes = 4 * width;
    memory = NativeBuffer.allocate((long) slots * rowBytes);
    free = new int[slots];
    for (int slot = slots - 1; slot >= 0; slot--) {
      free[freeCount++] = slot;
    }
  }

  int allocateSlot() {
    if (freeCount == 0) {
      grow();
    }
    return free[--freeCount];
  }

  private void grow() {
    int count = free.length;
    NativeBuffer larger = NativeBuffer.allocate(2L * count * rowBytes);
    MemorySegment.copy(
        bytes(memory.address(), memory.bytes()), 0, bytes(larger), 0, memory.bytes());
    memory.close();
    memory = larger;
    free = new int[2 * count];
    for (int slot = 2 * count - 1; slot >= count; slot--) {
      free[freeCount++] = slot;
    }
  }

  void release(int slot) {
    free[freeCount++] = slot;
  }

  long address(int slot) {
    return memory.address() + (long) slot * rowBytes;
  }

  int rowBytes() {
    return rowBytes;
  }

  void copy(int from, int to) {
    MemorySegment.copy(
        bytes(address(from), rowBytes), 0, bytes(address(to), rowBytes), 0, rowBytes);
  }

  void read(int slot, byte[] to, int at) {
    MemorySegment.copy(bytes(address(slot), rowBytes), ValueLayout.JAVA_BYTE, 0, to, at, rowBytes);
  }

  void write(int slot, byte[] from, int at) {
    MemorySegment.copy(
        from, at, bytes(address(slot), rowBytes), ValueLayout.JAVA_BYTE, 0, rowBytes);
  }

  private static MemorySegment bytes(NativeBuffer buffer) {
    return bytes(buffer.address(), buffer.bytes());
  }

  private static MemorySegment bytes(long address, long count) {
    return MemorySegment.ofAddress(address).reinterpret(count);
  }

  @Override
  public void close() {
    memory.close();
  }
}
