package org.eellm.serve.connection;

import io.helidon.common.buffers.BufferData;
import io.helidon.common.socket.SocketOptions;
import io.helidon.http.DirectHandler.EventType;
import io.helidon.http.HeaderNames;
import io.helidon.http.HeaderValues;
import io.helidon.http.Headers;
import io.helidon.http.HttpPrologue;
import io.helidon.http.Method;
import io.helidon.http.RequestException;
import io.helidon.http.Status;
import io.helidon.webserver.ConnectionContext;
import io.helidon.webserver.http1.Http1Config;
import io.helidon.webserver.http1.Http1ConnectionListener;
import io.helidon.webserver.http1.Http1ConnectionSelector;
import io.helidon.webserver.spi.ServerConnection;
import io.helidon.webserver.spi.ServerConnectionSelector;
import java.io.IOException;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.SocketAddress;
import java.net.SocketOption;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The open connections. Helidon has no bound on how many an address has, and none on the time of a
 * request's head: its time-out counts anew with each byte.
 *
 * <p>At a bound, a new connection takes the place of one that has no request in work: of the one
 * that has waited longest among those that never had an answer, if there are such.
 */
public final class Connections
    implements SocketOptions, ServerConnectionSelector, Http1ConnectionListener {
  private static final Logger LOG = LoggerFactory.getLogger(Connections.class);

  private static final byte[] BUSY =
      "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
          .getBytes(StandardCharsets.US_ASCII);

  private final SocketOptions rest = SocketOptions.create();
  private final Http1ConnectionSelector http1;
  private final Duration readTimeout;
  private final int most;
  private final int mostOfAnAddress;
  private final boolean secure;
  private final Map<SocketAddress, Connection> open = new ConcurrentHashMap<>();

  // Of the one thread that accepts connections.
  private int closed;
  private long closedLogged = System.nanoTime() - 1_000_000_000L;

  /** The connection that a thread serves: each has its own. */
  private final ThreadLocal<Connection> current = new ThreadLocal<>();

  /**
   * @param readTimeout for a TLS handshake, for a request's head, and again for its body
   * @param most connections at once
   * @param mostOfAnAddress connections at once of one address
   * @param secure whether they speak TLS
   */
  public Connections(Duration readTimeout, int most, int mostOfAnAddress, boolean secure) {
    this.readTimeout = readTimeout;
    this.most = most;
    this.mostOfAnAddress = mostOfAnAddress;
    this.secure = secure;
    http1 =
        Http1ConnectionSelector.builder()
            .config(Http1Config.builder().addReceiveListener(this).build())
            .build();
  }

  /** The connection of the request that this thread is at. */
  public Connection current() {
    return Objects.requireNonNull(current.get(), "a connection's thread");
  }

  @Override
  public void configureSocket(SocketChannel channel) {
    rest.configureSocket(channel);
    Connection accepted = new Connection(channel.socket(), readTimeout);
    open.values().removeIf(Connection::isClosed);
    List<Connection> neighbours =
        open.values().stream()
            .filter(other -> isSameNetwork(other.address(), accepted.address()))
            .toList();
    if (neighbours.size() >= mostOfAnAddress && !makeRoom(neighbours)) {
      LOG.info(
          "refused a connection of {}: {} have requests in work",
          accepted.address().getHostAddress(),
          neighbours.size());
      throw refuse(channel);
    }
    open.put(channel.socket().getRemoteSocketAddress(), accepted);
    if (secure) {
      CompletableFuture.delayedExecutor(
              readTimeout.toMillis(), TimeUnit.MILLISECONDS, Thread::startVirtualThread)
          .execute(accepted::closeUnlessBegun);
    }
    if (open.size() >= most) { // else the next one would not be accepted
      makeRoom(open.values().stream().filter(other -> other != accepted).toList());
    }
  }

  /** In IPv6 whoever has one address has a network of them. */
  private static boolean isSameNetwork(InetAddress one, InetAddress other) {
    return one.equals(other)
        || one instanceof Inet6Address
            && other instanceof Inet6Address
            && Arrays.equals(one.getAddress(), 0, 8, other.getAddress(), 0, 8);
  }

  private boolean makeRoom(Collection<Connection> connections) {
    Optional<Connection> idle =
        connections.stream()
            .filter(connection -> !connection.isInWork())
            .min(Comparator.comparing(Connection::isAnswered).thenComparingLong(Connection::since));
    idle.ifPresent(
        connection -> {
          connection.close();
          logClosed(connection.address());
        });
    return idle.isPresent();
  }

  /** One line a second at most: whoever opens connections is not to fill the log. */
  private void logClosed(InetAddress address) {
    closed++;
    long now = System.nanoTime();
    if (now - closedLogged >= 1_000_000_000L) {
      LOG.info(
          "closed {} that had no request in work, for new ones; the last is of {}",
          closed == 1 ? "a connection" : closed + " connections",
          address.getHostAddress());
      closed = 0;
      closedLogged = now;
    }
  }

  private IllegalStateException refuse(SocketChannel channel) {
    if (!secure) {
      try {
        channel.write(ByteBuffer.wrap(BUSY));
      } catch (IOException e) {
        // the client has gone
      }
    }
    return new IllegalStateException("too many connections");
  }

  @Override
  public ServerConnection connection(ConnectionContext context) {
    Connection accepted =
        Objects.requireNonNull(open.get(context.remotePeer().address()), "an accepted connection");
    accepted.begin(context);
    current.set(accepted);
    return http1.connection(BoundedContext.of(context, accepted));
  }

  @Override
  public void prologue(ConnectionContext context, HttpPrologue prologue) {
    current().lineIsRead();
    if (prologue.method().equals(Method.CONNECT)) { // whose target is no path, which routing needs
      throw RequestException.builder()
          .type(EventType.OTHER)
          .status(Status.METHOD_NOT_ALLOWED_405)
          .header(HeaderValues.create(HeaderNames.ALLOW, "GET, HEAD, POST, PUT"))
          .setKeepAlive(false)
          .message("CONNECT is not offered: this server is no proxy; use GET, HEAD, POST or PUT")
          .safeMessage(true)
          .build();
    }
  }

  @Override
  public void headers(ConnectionContext context, Headers headers) {
    current().headIsRead();
  }

  @Override
  public int bytesToIdentifyConnection() {
    return 0;
  }

  @Override
  public Support supports(BufferData data) {
    return Support.SUPPORTED; // there is no other protocol
  }

  @Override
  public Set<String> supportedApplicationProtocols() {
    return http1.supportedApplicationProtocols();
  }

  @Override
  public Map<SocketOption<?>, Object> socketOptions() {
    return rest.socketOptions();
  }

  @Override
  public Duration connectTimeout() {
    return rest.connectTimeout();
  }

  @Override
  public Duration readTimeout() {
    return readTimeout;
  }

  @Override
  public Optional<Integer> socketReceiveBufferSize() {
    return rest.socketReceiveBufferSize();
  }

  @Override
  public Optional<Integer> socketSendBufferSize() {
    return rest.socketSendBufferSize();
  }

  @Override
  public boolean socketReuseAddress() {
    return rest.socketReuseAddress();
  }

  @Override
  public boolean socketKeepAlive() {
    return rest.socketKeepAlive();
  }

  @Override
  public boolean tcpNoDelay() {
    return rest.tcpNoDelay();
  }
}
