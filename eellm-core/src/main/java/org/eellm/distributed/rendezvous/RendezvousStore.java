package org.eellm.distributed.rendezvous;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.channels.DatagramChannel;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.ByteVector;
import org.bytedeco.pytorch.IntOptional;
import org.bytedeco.pytorch.PrefixStore;
import org.bytedeco.pytorch.StringVector;
import org.bytedeco.pytorch.TCPStore;
import org.bytedeco.pytorch.TCPStoreOptions;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.launch.Durations;
import org.eellm.distributed.launch.LocalLauncher;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Torch;

/**
 * A connection to the world's rendezvous: c10d's key/value store, which one process hosts and where
 * the ranks find each other's addresses and heartbeats.
 */
public final class RendezvousStore implements Board, AutoCloseable {
  private static final int ATTEMPT_MILLIS = 3000;
  private static final long PAUSE_NANOS = 50_000_000;

  private final TCPStore store;
  private final String host;
  private final String prefix;
  private final Duration timeout;

  private RendezvousStore(String host, int port, boolean hosts, String prefix, Duration timeout) {
    Torch.load(); // before any class of it, for ranks start at once
    this.host = host;
    this.prefix = prefix;
    this.timeout = timeout;
    try (Scope scope = Scope.open()) {
      TCPStoreOptions options = new TCPStoreOptions();
      options
          .isServer(hosts)
          .port((short) port)
          .waitWorkers(false)
          .timeout(new Milliseconds(timeout.toMillis()));
      if (hosts && isLoopback(host) && LoopbackSocket.isSupported()) {
        options.masterListenFd(new IntOptional(LoopbackSocket.listen(port)));
      }
      store = new TCPStore(host, options);
      store.retainReference();
    }
  }

  /**
   * Hosts a store.
   *
   * @param port to listen on; 0 for any that is free
   */
  public static RendezvousStore host(String host, int port, Duration timeout) {
    try {
      return new RendezvousStore(host, port, true, "", timeout);
    } catch (RuntimeException e) {
      throw new DistributedException(
          "cannot listen on port "
              + port
              + " for the other ranks: "
              + Torch.firstLine(e)
              + "; another run may use it: choose another MASTER_PORT",
          e);
    }
  }

  private static boolean isLoopback(String host) {
    return host.equals(LocalLauncher.LOOPBACK) || host.equals("localhost");
  }

  /**
   * Connects to the store at {@code host}, which may take until {@code timeout} to appear.
   *
   * @param prefix of all keys, where others use the store as well
   */
  public static RendezvousStore open(String host, int port, String prefix, Duration timeout) {
    awaitListening(host, port, timeout);
    try {
      return new RendezvousStore(host, port, false, prefix, timeout);
    } catch (RuntimeException e) {
      throw absent(host, port, timeout, e);
    }
  }

  /** c10d's own attempts fill the log with native frames when rank 0 is late. */
  private static void awaitListening(String host, int port, Duration timeout) {
    long start = System.nanoTime();
    while (true) {
      try (Socket probe = new Socket()) {
        probe.connect(new InetSocketAddress(host, port), ATTEMPT_MILLIS);
        return;
      } catch (IOException e) {
        if (Durations.sinceNanos(start).compareTo(timeout) > 0) {
          throw absent(host, port, timeout, e);
        }
        LockSupport.parkNanos(PAUSE_NANOS);
      }
    }
  }

  private static DistributedException absent(
      String host, int port, Duration timeout, Exception cause) {
    return new DistributedException(
        "rank 0 did not answer at %s:%d within %s (%s); is it running, and does this host reach it?"
            .formatted(host, port, Durations.text(timeout), Torch.firstLine(cause)),
        cause);
  }

  /** The address of this process on the network that leads to the store. */
  public String localAddress() {
    try (DatagramChannel probe = DatagramChannel.open()) {
      probe.connect(new InetSocketAddress(host, port())); // Sends nothing, but chooses a route.
      return ((InetSocketAddress) probe.getLocalAddress()).getAddress().getHostAddress();
    } catch (IOException e) {
      throw new UncheckedIOException("no network leads to " + host, e);
    }
  }

  /** How long operations may take. */
  public Duration timeout() {
    return timeout;
  }

  /** Another connection to the same store. */
  public RendezvousStore newConnection() {
    return open(host, port(), prefix, timeout);
  }

  /** Where the store listens. */
  public int port() {
    return store.getPort() & 0xffff;
  }

  /**
   * A connection of its own to the keys of {@code group}, to be given to one native object, which
   * then owns it. The binding's stores carry no reference count of Java's: whatever takes one
   * believes to be its only owner, so Java must not free it as well.
   */
  public PrefixStore prefixStore(String group) {
    TCPStore connection = newConnection().store;
    connection.deallocate(false);
    PrefixStore part = new PrefixStore(prefix + group, connection);
    part.retainReference(); // Or a scope around this call would free it.
    part.deallocate(false);
    return part;
  }

  @Override
  public void put(String key, String value) {
    store.set(prefix + key, value);
  }

  @Override
  public boolean has(List<String> keys) {
    try (StringVector names = names(keys)) {
      return store.check(names);
    }
  }

  @Override
  public List<String> get(List<String> keys) {
    try (StringVector names = names(keys);
        ByteVector values = store.multiGet(names)) { // of which the binding makes one of vectors
      return IntStream.range(0, keys.size()).mapToObj(i -> text(values.getPointer(i))).toList();
    }
  }

  private static String text(ByteVector value) {
    return new String(value.get(), StandardCharsets.UTF_8);
  }

  @Override
  public String replace(String key, String expected, String value) {
    return store.compareSet(prefix + key, expected, value);
  }

  private StringVector names(List<String> keys) {
    return new StringVector(keys.stream().map(prefix::concat).toArray(String[]::new));
  }

  /** The value of a key that is there. */
  public String get(String key) {
    return store.get_to_str(prefix + key);
  }

  @Override
  public void close() {
    store.releaseReference();
  }
}
