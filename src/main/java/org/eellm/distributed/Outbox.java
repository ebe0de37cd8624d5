package org.eellm.distributed;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayDeque;
import java.util.Deque;

/**
 * Sends bytes of any length to another rank's {@link Inbox}, in order, between CPUs. A message goes
 * in a frame of fixed size, and what does not fit in a second one. For one thread.
 */
public final class Outbox implements AutoCloseable {
  /** Frames under way at most; a sender that is faster than its peer waits then. */
  private static final int UNDER_WAY = 16;

  private final Communicator group;
  private final int peer;
  private final int size;
  private final Deque<Frame> frames = new ArrayDeque<>();

  /**
   * @param peer rank in the group
   * @param size bytes of a message that go at once; the same as the inbox has
   */
  public Outbox(Communicator group, int peer, int size) {
    this.group = group;
    this.peer = peer;
    this.size = size;
  }

  /**
   * Starts to send a message.
   *
   * @throws DistributedException naming who is to blame, if earlier ones do not arrive
   */
  public void send(byte[] message) {
    int first = Math.min(message.length, size);
    send(message.length, message, first);
    if (first < message.length) {
      int count = message.length - first;
      Frame rest = Frame.allocate(count);
      MemorySegment.copy(message, first, rest.bytes(), ValueLayout.JAVA_BYTE, 0, count);
      frames.add(rest.start(tensor -> group.send(tensor, peer, Frame.REST_TAG)));
    }
    while (frames.size() > UNDER_WAY) {
      finishFirst();
    }
  }

  private void send(int length, byte[] message, int count) {
    Frame frame = Frame.allocate(Integer.BYTES + size);
    MemorySegment bytes = frame.bytes();
    bytes.set(ValueLayout.JAVA_INT_UNALIGNED, 0, length);
    MemorySegment.copy(message, 0, bytes, ValueLayout.JAVA_BYTE, Integer.BYTES, count);
    frames.add(frame.start(tensor -> group.send(tensor, peer, Frame.TAG)));
  }

  private void finishFirst() {
    frames.getFirst().pending().await();
    frames.removeFirst().free();
  }

  /** Tells the peer that nothing more comes, and waits until it has all. */
  public void end() {
    for (int i = 0; i < Frame.POSTED; i++) { // one for each receive that the peer has posted
      send(Frame.END, new byte[0], 0);
    }
    while (!frames.isEmpty()) {
      finishFirst();
    }
  }

  @Override
  public void close() {
    frames.forEach(Frame::free);
    frames.clear();
  }
}
