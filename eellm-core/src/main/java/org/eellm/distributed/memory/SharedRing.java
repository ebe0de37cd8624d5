package org.eellm.distributed.memory;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import java.util.Optional;

/**
 * Parts of messages from one rank to another, in the order in which they are written, in memory
 * that both have mapped. One writes and one reads at a time.
 *
 * <p>The memory begins with how many bytes have ever been written and, on a cache line of its own,
 * how many have been read. A part has a header of 16 bytes: tag and length as an int each, and the
 * bytes of its whole message as a long. Parts begin at multiples of 16, of the ring and of the
 * message, and do not wrap around.
 */
final class SharedRing {
  private static final long READ_OFFSET = 64;
  private static final long DATA_OFFSET = 128;
  private static final int ALIGNMENT = 16;
  private static final int HEADER_BYTES = 16;

  /** So that the reader takes the first parts while the writer writes the next ones. */
  private static final int MAX_PART_BYTES = 1 << 18;

  private static final VarHandle POSITION = ValueLayout.JAVA_LONG.varHandle();

  private final MemorySegment memory;
  private final long capacity;

  /**
   * A part that has arrived.
   *
   * @param total bytes of the whole message
   * @param bytes in the ring, until {@link #release}
   */
  record Part(int tag, long total, MemorySegment bytes) {}

  /**
   * A ring in memory that was 0 before either side has come.
   *
   * @param memory {@link #bytes} of its capacity, a power of two
   */
  SharedRing(MemorySegment memory) {
    this.memory = memory;
    this.capacity = memory.byteSize() - DATA_OFFSET;
    if (Long.bitCount(capacity) != 1) {
      throw new IllegalArgumentException("a ring of " + capacity + " bytes: use a power of two");
    }
  }

  /** The memory that a ring needs. */
  static long bytes(long capacity) {
    return DATA_OFFSET + capacity;
  }

  /**
   * Writes as much of a message as fits into one part.
   *
   * @param from where in the message to begin
   * @return how many bytes were written; 0 if there is no room
   */
  long write(int tag, MemorySegment message, long from) {
    long written = (long) POSITION.get(memory, 0L);
    long free = capacity - (written - (long) POSITION.getAcquire(memory, READ_OFFSET));
    long start = written & (capacity - 1);
    if (capacity - start == HEADER_BYTES && free > HEADER_BYTES) { // an empty part to the end
      put(written, 0, 0, 0);
      written += HEADER_BYTES;
      free -= HEADER_BYTES;
      start = 0;
      POSITION.setRelease(memory, 0L, written);
    }
    long room = Math.min(free, capacity - start) - HEADER_BYTES;
    long length = Math.min(Math.min(room, MAX_PART_BYTES), message.byteSize() - from);
    if (length <= 0) {
      return 0;
    }
    put(written, tag, (int) length, message.byteSize());
    MemorySegment.copy(message, from, memory, DATA_OFFSET + start + HEADER_BYTES, length);
    POSITION.setRelease(memory, 0L, written + partBytes(length));
    return length;
  }

  private void put(long position, int tag, int length, long total) {
    long at = DATA_OFFSET + (position & (capacity - 1));
    memory.set(ValueLayout.JAVA_INT, at, tag);
    memory.set(ValueLayout.JAVA_INT, at + Integer.BYTES, length);
    memory.set(ValueLayout.JAVA_LONG, at + Long.BYTES, total);
  }

  /** The part that was written first, if there is one. */
  Optional<Part> peek() {
    long read = (long) POSITION.get(memory, READ_OFFSET);
    while (read != (long) POSITION.getAcquire(memory, 0L)) {
      long at = DATA_OFFSET + (read & (capacity - 1));
      int length = memory.get(ValueLayout.JAVA_INT, at + Integer.BYTES);
      if (length > 0) {
        int tag = memory.get(ValueLayout.JAVA_INT, at);
        long total = memory.get(ValueLayout.JAVA_LONG, at + Long.BYTES);
        return Optional.of(new Part(tag, total, memory.asSlice(at + HEADER_BYTES, length)));
      }
      read += HEADER_BYTES;
      POSITION.setRelease(memory, READ_OFFSET, read);
    }
    return Optional.empty();
  }

  /** Makes room: what {@link #peek} gave has been read. */
  void release(Part part) {
    long read = (long) POSITION.get(memory, READ_OFFSET);
    POSITION.setRelease(memory, READ_OFFSET, read + partBytes(part.bytes().byteSize()));
  }

  private static long partBytes(long length) {
    return (HEADER_BYTES + length + ALIGNMENT - 1) & -ALIGNMENT;
  }
}
