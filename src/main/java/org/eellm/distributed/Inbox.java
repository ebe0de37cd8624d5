package org.eellm.distributed;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Optional;

/**
 * Receives what another rank's {@link Outbox} sends. Receives are posted ahead, so that a message
 * goes out the moment it is sent. For one thread.
 */
public final class Inbox implements AutoCloseable {
  private final Communicator group;
  private final int peer;
  private final int size;
  private final Deque<Frame> frames = new ArrayDeque<>();

  /**
   * @param peer rank in the group
   * @param size bytes of a message that come at once; the same as the outbox has
   */
  public Inbox(Communicator group, int peer, int size) {
    this.group = group;
    this.peer = peer;
    this.size = size;
    while (frames.size() < Frame.POSTED) {
      post();
    }
  }

  private void post() {
    Frame frame = Frame.allocate(Integer.BYTES + size);
    frames.add(frame.start(tensor -> group.receive(tensor, peer, Frame.TAG)));
  }

  /**
   * Waits for the next message.
   *
   * @return nothing if no further one comes
   * @throws DistributedException naming who is to blame, if none comes in the world's timeout
   */
  public Optional<byte[]> receive() {
    MemorySegment bytes = awaitFirst();
    int length = bytes.get(ValueLayout.JAVA_INT_UNALIGNED, 0);
    if (length == Frame.END) {
      frames.removeFirst().free();
      while (!frames.isEmpty()) {
        awaitFirst();
        frames.removeFirst().free();
      }
      return Optional.empty();
    }
    byte[] message = new byte[length];
    int first = Math.min(length, size);
    MemorySegment.copy(bytes, ValueLayout.JAVA_BYTE, Integer.BYTES, message, 0, first);
    frames.removeFirst().free();
    post();
    if (first < length) {
      receiveRest(message, first);
    }
    return Optional.of(message);
  }

  private MemorySegment awaitFirst() {
    Frame frame = frames.getFirst();
    frame.pending().await();
    return frame.bytes();
  }

  private void receiveRest(byte[] message, int first) {
    int count = message.length - first;
    Frame rest = Frame.allocate(count).start(tensor -> group.receive(tensor, peer, Frame.REST_TAG));
    try {
      rest.pending().await();
      MemorySegment.copy(rest.bytes(), ValueLayout.JAVA_BYTE, 0, message, first, count);
    } finally {
      rest.free();
    }
  }

  @Override
  public void close() {
    frames.forEach(Frame::free);
    frames.clear();
  }
}
