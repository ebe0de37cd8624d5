package org.eellm.distributed.message;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Collection;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.collective.Communicator;
import org.eellm.distributed.mesh.RankGroup;
import org.eellm.distributed.rendezvous.HeartbeatMonitor;
import org.eellm.distributed.rendezvous.Operation;
import org.eellm.distributed.rendezvous.RendezvousStore;

/**
 * Messages of any length between the ranks of a group, in order from each sender, for ranks that
 * decide by themselves when to write to whom: on one machine a message takes some microseconds,
 * where a tensor through Gloo takes a hundred. For one thread.
 *
 * <p>A rank is alive as long as it calls {@link #poll}, {@link #receive} or {@link #send}; one that
 * does not for the world's timeout, or whose connection ends before it has said {@link #end}, is
 * reported by whoever waits for it.
 */
public final class PeerChannel implements AutoCloseable {
  /** In place of a message's length: no further one comes. */
  private static final int END = -1;

  /** In place of a message's length: the sender is alive. */
  private static final int ALIVE = -2;

  /**
   * How long to look for messages without sleeping: longer than the first stage takes for as many
   * tokens as wait at an exit. Waking up takes longer than a message's way, and milliseconds where
   * the processor has gone to others; but other threads get it in between.
   */
  private static final long AWAKE_NANOS = 20_000_000;

  /** Between two looks at whether another rank is lost. */
  private static final long LONGEST_SLEEP = 1_000_000_000;

  private final RankGroup group;
  private final HeartbeatMonitor watch;
  private final long timeout; // in nanoseconds, as all times here
  private final Selector selector;
  private final Map<Integer, Peer> peers = new TreeMap<>();
  private final Deque<Message> arrived = new ArrayDeque<>();

  /**
   * A message that has come.
   *
   * @param from the sender's rank in the group
   */
  public record Message(int from, byte[] bytes) {}

  /** Another rank, as far as messages from and to it have come. */
  private static final class Peer {
    private final int number;
    private final SocketChannel channel;
    private final ByteBuffer length = ByteBuffer.allocate(Integer.BYTES);
    private Optional<ByteBuffer> message = Optional.empty(); // one that is not all there
    private Optional<IOException> broken = Optional.empty();
    private boolean ended;
    private long lastReceived = System.nanoTime();
    private long lastSent = lastReceived;

    Peer(int number, SocketChannel channel) {
      this.number = number;
      this.channel = channel;
    }

    boolean isOpen() {
      return !ended && broken.isEmpty();
    }

    /** Reads on. */
    void read(Collection<Message> to) {
      try {
        while (isOpen()) {
          ByteBuffer part = message.orElse(length);
          int count = channel.read(part);
          if (count < 0) {
            throw new IOException("the connection has ended");
          }
          if (count > 0) {
            lastReceived = System.nanoTime();
          } else if (part.hasRemaining()) {
            return;
          }
          if (!part.hasRemaining()) {
            take(part, to);
          }
        }
      } catch (IOException e) {
        broken = Optional.of(e);
      }
    }

    private void take(ByteBuffer part, Collection<Message> to) throws IOException {
      if (message.isPresent()) {
        to.add(new Message(number, part.array()));
        message = Optional.empty();
        return;
      }
      int size = length.flip().getInt();
      length.clear();
      switch (size) {
        case END -> ended = true;
        case ALIVE -> {} // lastReceived is all there is to it
        default -> {
          if (size < 0) {
            throw new IOException("a message of " + size + " bytes");
          }
          message = Optional.of(ByteBuffer.allocate(size));
        }
      }
    }
  }

  private PeerChannel(
      RankGroup group,
      HeartbeatMonitor watch,
      Duration timeout,
      Map<Integer, SocketChannel> channels)
      throws IOException {
    this.group = group;
    this.watch = watch;
    this.timeout = timeout.toNanos();
    selector = Selector.open();
    try {
      for (var entry : channels.entrySet()) {
        SocketChannel channel = entry.getValue();
        channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
        channel.configureBlocking(false);
        channel.register(selector, SelectionKey.OP_READ);
        peers.put(entry.getKey(), new Peer(entry.getKey(), channel));
      }
    } catch (IOException | RuntimeException e) {
      selector.close();
      throw e;
    }
  }

  /**
   * Connects every member with every other; all call this.
   *
   * @param communicator of the group
   * @param watch says who is to blame if a message does not come
   * @throws DistributedException naming who is to blame, if some do not come
   */
  public static PeerChannel connect(
      Communicator communicator, RankGroup group, RendezvousStore store, HeartbeatMonitor watch) {
    Operation connecting = new Operation("peer channel", 0, "over " + group.name());
    Duration timeout = store.timeout();
    long began = System.nanoTime();
    try {
      var channels = PeerConnections.open(communicator, store.localAddress(), timeout);
      try {
        return new PeerChannel(group, watch, timeout, channels);
      } catch (IOException | RuntimeException e) {
        PeerConnections.close(channels.values(), e);
        throw e;
      }
    } catch (IOException e) {
      throw watch.explain(
          connecting, began, group.ranks(), new DistributedException(e.toString(), e));
    }
  }

  /**
   * Sends a message.
   *
   * @param peer rank in the group
   * @throws DistributedException naming who is to blame, if the peer has ended or takes nothing
   */
  public void send(int peer, byte[] bytes) {
    send(peer, bytes.length, bytes);
  }

  private void send(int number, int length, byte[] bytes) {
    Peer peer = peer(number);
    ByteBuffer frame = ByteBuffer.allocate(Integer.BYTES + bytes.length);
    frame.putInt(length).put(bytes).flip();
    long began = System.nanoTime();
    peer.lastSent = began;
    try {
      while (frame.hasRemaining()) {
        if (peer.channel.write(frame) == 0) {
          readAll(); // the peer may be waiting to be read, too
          long now = System.nanoTime();
          requireAlive(peer, Math.min(now - began, now - peer.lastReceived));
          Thread.yield();
        }
      }
    } catch (IOException e) {
      throw explain(number, began, e);
    }
  }

  /** The next message, if one has come. */
  public Optional<Message> poll() {
    if (arrived.isEmpty()) {
      readAll();
    }
    sendKeepAlives();
    return Optional.ofNullable(arrived.poll());
  }

  /**
   * The next message, if one has come, for one who waits for nothing: called now and then, it lets
   * this rank, too, learn that another has gone.
   *
   * @throws DistributedException naming who is to blame, if another rank has ended before its time,
   *     or is silent for the world's timeout
   */
  public Optional<Message> pollIdle() {
    Optional<Message> message = poll();
    if (message.isEmpty()) {
      requireAlive(peers.keySet());
    }
    return message;
  }

  /**
   * Waits for the next message.
   *
   * @param from ranks in the group, one of which is to write
   * @param limit after so long there is none
   * @throws DistributedException naming who is to blame, if one of them has ended before its time,
   *     or is silent for the world's timeout; or if this thread is interrupted
   */
  public Optional<Message> receive(Collection<Integer> from, Duration limit) {
    long began = System.nanoTime();
    boolean sleeps = false;
    try {
      while (true) {
        Optional<Message> message = poll();
        if (message.isPresent()) {
          return message;
        }
        requireAlive(from);
        long waited = System.nanoTime() - began;
        if (waited > limit.toNanos()) {
          return Optional.empty();
        }
        if (waited < AWAKE_NANOS) {
          Thread.yield();
        } else {
          if (Thread.currentThread().isInterrupted()) { // or select would return at once
            throw new DistributedException("interrupted in " + waiting(from));
          }
          if (!sleeps) {
            watch.begin(waiting(from));
            sleeps = true;
          }
          long nanos = Math.min(limit.toNanos() - waited, Math.min(timeout / 8, LONGEST_SLEEP));
          selector.select(_ -> {}, Math.max(1, nanos / 1_000_000));
        }
      }
    } catch (IOException e) {
      throw new DistributedException(waiting(from) + ": " + e.getMessage(), e);
    } finally {
      watch.goOn();
    }
  }

  private Peer peer(int number) {
    return Optional.ofNullable(peers.get(number))
        .orElseThrow(
            () -> new IllegalArgumentException(number + " is no other rank of " + group.name()));
  }

  private Operation waiting(Collection<Integer> from) {
    List<String> names = from.stream().map(group::name).toList();
    return new Operation("peer channel", 0, "from " + String.join(", ", names));
  }

  private void readAll() {
    for (Peer peer : peers.values()) {
      if (peer.isOpen()) {
        peer.read(arrived);
        if (!peer.isOpen()) {
          peer.channel.keyFor(selector).cancel(); // or it would always be readable
        }
      }
    }
  }

  /** Ranks that wait for this one are not to take it for dead. */
  private void sendKeepAlives() {
    long now = System.nanoTime();
    for (Peer peer : peers.values()) {
      if (peer.isOpen() && now - peer.lastSent > timeout / 4) {
        send(peer.number, ALIVE, new byte[0]);
      }
    }
  }

  /** Throws if one of these peers is not there any more, or has been silent for too long. */
  private void requireAlive(Collection<Integer> from) {
    for (int number : from) {
      Peer peer = peer(number);
      requireAlive(peer, System.nanoTime() - peer.lastReceived);
    }
  }

  /**
   * Throws if a peer, or what holds the ranks together, is not there any more, or if the peer is
   * silent for too long.
   *
   * @param silent for how long it is
   */
  private void requireAlive(Peer peer, long silent) {
    if (peer.broken.isPresent() || watch.hasFailure()) {
      IOException cause = peer.broken.orElseGet(() -> new IOException("another rank has ended"));
      throw explain(peer.number, System.nanoTime(), cause);
    }
    if (!peer.ended && silent > timeout) {
      throw explain(peer.number, System.nanoTime() - silent, new IOException("it is silent"));
    }
  }

  private DistributedException explain(int number, long began, IOException cause) {
    return watch.explain(
        waiting(List.of(number)),
        began,
        List.of(group.ranks().get(number)),
        new DistributedException(cause.toString(), cause));
  }

  /**
   * Tells all others that no further message comes from here, and waits until they have said so,
   * too. What they write meanwhile is for nobody.
   */
  public void end() {
    peers.keySet().forEach(number -> send(number, END, new byte[0]));
    List<Integer> left = List.copyOf(peers.keySet());
    while (!left.isEmpty()) {
      readAll();
      arrived.clear();
      left = left.stream().filter(number -> !peer(number).ended).toList();
      requireAlive(left);
      Thread.yield();
    }
  }

  /** Ends the connections; without {@link #end} before, the others take this rank for dead. */
  @Override
  public void close() {
    try {
      for (Peer peer : peers.values()) {
        peer.channel.close();
      }
      selector.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
