package org.eellm.distributed.memory;

import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.Deque;

/** Messages to one rank, of which those that the ring has no room for wait here. */
final class Outbox {
  private final SharedRing ring;
  private final Deque<Outgoing> waiting = new ArrayDeque<>();

  /** A message, as far as it is in the ring. */
  private static final class Outgoing extends Transfer {
    private final int tag;
    private final MemorySegment bytes;
    private long written;

    Outgoing(int tag, MemorySegment bytes) {
      this.tag = tag;
      this.bytes = bytes;
    }
  }

  Outbox(SharedRing ring) {
    this.ring = ring;
  }

  /** Begins to send; done when all of it is in the ring. */
  synchronized Transfer send(int tag, MemorySegment bytes) {
    Outgoing message = new Outgoing(tag, bytes);
    waiting.add(message);
    advance();
    return message;
  }

  /** Writes what there is room for; whether that was anything. */
  synchronized boolean advance() {
    boolean moved = false;
    while (!waiting.isEmpty()) {
      Outgoing first = waiting.element();
      long length = ring.write(first.tag, first.bytes, first.written);
      if (length == 0) {
        return moved;
      }
      moved = true;
      first.written += length;
      if (first.written == first.bytes.byteSize()) {
        first.done = true;
        waiting.remove();
      }
    }
    return moved;
  }

  /** Whether all messages are in the ring. */
  synchronized boolean isEmpty() {
    return waiting.isEmpty();
  }

  /** Gives up what is not in the ring. */
  synchronized void clear() {
    waiting.clear();
  }
}
