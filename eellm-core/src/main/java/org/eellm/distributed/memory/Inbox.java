package org.eellm.distributed.memory;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/**
 * Messages from one rank. Those that nobody expects yet stay in the ring, or make room and wait
 * here.
 */
final class Inbox {
  private static final int MAX_ARRAY_BYTES = 1 << 28;

  private final SharedRing ring;
  private final Map<Integer, Deque<Incoming>> expected =
      new HashMap<>(); // by tag, and the next too
  private final Map<Integer, Deque<Early>> early = new HashMap<>();
  private Optional<Incoming> current = Optional.empty(); // of which a part has come

  /** A message, as far as it has come. */
  private static final class Incoming extends Transfer {
    private final int tag;
    private final long bytes;
    private final PartSink sink;
    private long arrived;
    private Optional<Runnable> whenWhole = Optional.empty(); // of one that came early

    Incoming(int tag, long bytes, PartSink sink) {
      this.tag = tag;
      this.bytes = bytes;
      this.sink = sink;
    }

    void add(SharedRing.Part part) {
      if (part.total() != bytes) {
        throw lengths(tag, bytes, part.total());
      }
      sink.take(arrived, part.bytes());
      arrived += part.bytes().byteSize();
      finish();
    }

    /** Done, if all has come and it is known where it goes. */
    void finish() {
      if (arrived == bytes) {
        whenWhole.ifPresent(Runnable::run);
        done = true;
      }
    }
  }

  /** A message that nobody has expected, and where it waits. */
  private record Early(Incoming message, MemorySegment buffer) {}

  Inbox(SharedRing ring) {
    this.ring = ring;
  }

  private static IllegalStateException lengths(int tag, long expected, long sent) {
    return new IllegalStateException(
        "the message with tag %d has %d bytes, but %d were to be received"
            .formatted(tag, sent, expected));
  }

  /** Receives the next message with this tag that no other call receives. */
  synchronized Transfer receive(int tag, long bytes, PartSink sink) {
    Deque<Early> there = early.getOrDefault(tag, new ArrayDeque<>());
    if (there.isEmpty()) {
      Incoming message = new Incoming(tag, bytes, sink);
      expected.computeIfAbsent(tag, _ -> new ArrayDeque<>()).add(message);
      return message;
    }
    Early first = there.remove();
    if (there.isEmpty()) {
      early.remove(tag);
    }
    Incoming message = first.message();
    if (message.bytes != bytes) {
      throw lengths(tag, bytes, message.bytes);
    }
    message.done = false;
    message.whenWhole = Optional.of(() -> sink.take(0, first.buffer()));
    message.finish();
    return message;
  }

  /**
   * Takes what is in the ring; whether that was anything.
   *
   * @param early also messages that nobody expects yet
   */
  synchronized boolean advance(boolean early) {
    boolean moved = false;
    while (true) {
      Optional<SharedRing.Part> part = ring.peek();
      if (part.isEmpty()
          || !early && current.isEmpty() && !expected.containsKey(part.get().tag())) {
        return moved;
      }
      moved = true;
      Incoming message = current.orElseGet(() -> begin(part.get()));
      message.add(part.get());
      ring.release(part.get());
      current = message.done ? Optional.empty() : Optional.of(message);
    }
  }

  private Incoming begin(SharedRing.Part part) {
    Deque<Incoming> waiting = expected.getOrDefault(part.tag(), new ArrayDeque<>());
    if (!waiting.isEmpty()) {
      Incoming message = waiting.remove();
      if (waiting.isEmpty()) {
        expected.remove(part.tag());
      }
      return message;
    }
    MemorySegment buffer = buffer(part.total());
    Incoming message = new Incoming(part.tag(), part.total(), PartSink.copyTo(buffer));
    early.computeIfAbsent(part.tag(), _ -> new ArrayDeque<>()).add(new Early(message, buffer));
    return message;
  }

  private static MemorySegment buffer(long bytes) {
    return bytes <= MAX_ARRAY_BYTES
        ? MemorySegment.ofArray(new byte[(int) bytes])
        : Arena.ofAuto().allocate(bytes);
  }

  /** Gives up what has not come. */
  synchronized void clear() {
    expected.clear();
    early.clear();
    current = Optional.empty();
  }
}
