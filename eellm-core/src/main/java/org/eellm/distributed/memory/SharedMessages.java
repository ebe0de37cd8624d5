package org.eellm.distributed.memory;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;

/**
 * Messages between all ranks of a group on one machine: a {@link SharedRing} from each to each. A
 * sender copies into the ring and goes on; a receiver copies out, or adds, when it waits. What
 * finds no room is sent by a thread in the background.
 */
public final class SharedMessages implements AutoCloseable {
  private static final long MAX_RING_BYTES = 4 << 20;
  private static final long MIN_RING_BYTES = 1 << 14;
  private static final long GROUP_BYTES = 32 << 20;

  /** Pauses of the thread in the background while the receivers take nothing. */
  private static final long MIN_PAUSE_NANOS = 20_000;

  private static final long MAX_PAUSE_NANOS = 1_000_000;

  private final List<Outbox> outboxes = new ArrayList<>(); // one for each other rank, in order
  private final List<Inbox> inboxes = new ArrayList<>();
  private final Thread sender =
      Thread.ofPlatform().daemon().name("eellm-send").unstarted(this::run);
  private final int rank;
  private volatile boolean closed;

  /**
   * The messages of one rank.
   *
   * @param memory of {@link #bytes}, 0 before any rank has come
   */
  public SharedMessages(MemorySegment memory, int rank, int size) {
    this.rank = rank;
    for (int peer = 0; peer < size; peer++) {
      if (peer != rank) {
        outboxes.add(new Outbox(ring(memory, rank, peer, size)));
        inboxes.add(new Inbox(ring(memory, peer, rank, size)));
      }
    }
  }

  private static SharedRing ring(MemorySegment memory, int from, int to, int size) {
    long bytes = SharedRing.bytes(ringBytes(size));
    long number = (long) from * (size - 1) + (to < from ? to : to - 1);
    return new SharedRing(memory.asSlice(number * bytes, bytes));
  }

  /** The memory that a group needs. */
  public static long bytes(int size) {
    return SharedRing.bytes(ringBytes(size)) * size * (size - 1);
  }

  private static long ringBytes(int size) {
    long share = Long.highestOneBit(GROUP_BYTES / ((long) size * (size - 1)));
    return Math.clamp(share, MIN_RING_BYTES, MAX_RING_BYTES);
  }

  /**
   * Begins to send.
   *
   * @param bytes unchanged until this is done
   */
  public Transfer send(int peer, int tag, MemorySegment bytes) {
    Transfer message = outboxes.get(index(peer)).send(tag, bytes);
    if (!message.isDone()) {
      wakeSender();
    }
    return message;
  }

  /**
   * Begins to receive, of the messages with this tag the next one.
   *
   * @param sink takes it as it arrives
   * @throws IllegalStateException if it has another length; {@link #advance} throws it as well
   */
  public Transfer receive(int peer, int tag, long bytes, PartSink sink) {
    return inboxes.get(index(peer)).receive(tag, bytes, sink);
  }

  private int index(int peer) {
    return peer < rank ? peer : peer - 1;
  }

  /**
   * Goes on with what is under way, without waiting; whether anything moved.
   *
   * @param early whether to copy out messages that nobody expects yet, too: they may be in the way
   */
  public boolean advance(boolean early) {
    if (closed) {
      return false;
    }
    boolean moved = false;
    for (Inbox inbox : inboxes) {
      moved |= inbox.advance(early);
    }
    for (Outbox outbox : outboxes) {
      moved |= outbox.advance();
    }
    return moved;
  }

  private synchronized void wakeSender() {
    if (sender.getState() == Thread.State.NEW) {
      sender.start();
    }
    LockSupport.unpark(sender);
  }

  private void run() {
    long pause = MIN_PAUSE_NANOS;
    while (!closed) {
      boolean moved = false;
      boolean empty = true;
      for (Outbox outbox : outboxes) {
        moved |= outbox.advance();
        empty &= outbox.isEmpty();
      }
      if (empty) {
        LockSupport.park(this);
      } else if (!moved) {
        LockSupport.parkNanos(pause);
      }
      pause = empty || moved ? MIN_PAUSE_NANOS : Math.min(2 * pause, MAX_PAUSE_NANOS);
    }
  }

  /**
   * Gives up what is under way. Nothing is written to or read from the ranks' tensors after this.
   */
  @Override
  public synchronized void close() {
    closed = true;
    LockSupport.unpark(sender);
    outboxes.forEach(Outbox::clear);
    inboxes.forEach(Inbox::clear);
  }
}
