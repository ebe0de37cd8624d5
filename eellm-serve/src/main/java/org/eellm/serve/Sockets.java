package org.eellm.serve;

import io.helidon.common.socket.HelidonSocket;
import io.helidon.common.socket.SocketOptions;
import io.helidon.http.HttpPrologue;
import io.helidon.webserver.ConnectionContext;
import io.helidon.webserver.http1.Http1ConnectionListener;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.Socket;
import java.net.SocketAddress;
import java.net.SocketException;
import java.net.SocketOption;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BooleanSupplier;

/**
 * The connections' sockets, which handlers need for two things that Helidon has no setting for: how
 * long a client may take to send, and whether it is still there while it is to wait.
 */
final class Sockets implements SocketOptions, Http1ConnectionListener {
  /** How long a client may go on sending what is too long. */
  private static final Duration DRAIN = Duration.ofSeconds(2);

  /** Without a byte for so long, a client waits for its answer. */
  private static final int PAUSE_MILLIS = 300;

  private final SocketOptions rest = SocketOptions.create();
  private final Duration readTimeout;
  private final Map<SocketAddress, Socket> open = new ConcurrentHashMap<>();

  /** The connection of the request that a thread is at. */
  private final ThreadLocal<Optional<ConnectionContext>> current =
      ThreadLocal.withInitial(Optional::empty);

  Sockets(Duration readTimeout) {
    this.readTimeout = readTimeout;
  }

  @Override
  public void configureSocket(SocketChannel channel) {
    rest.configureSocket(channel);
    Socket socket = channel.socket();
    setTimeout(socket, (int) readTimeout.toMillis());
    open.values().removeIf(Socket::isClosed);
    open.put(socket.getRemoteSocketAddress(), socket);
  }

  @Override
  public void prologue(ConnectionContext context, HttpPrologue prologue) {
    current.set(Optional.of(context));
  }

  private ConnectionContext connection() {
    return current.get().orElseThrow();
  }

  private Optional<Socket> socket() {
    return Optional.ofNullable(open.get(connection().remotePeer().address()));
  }

  /** Bounds how long the current request's client may take to send its next bytes. */
  void expectBytes() {
    socket().ifPresent(socket -> setTimeout(socket, (int) readTimeout.toMillis()));
  }

  /** Whether the current request's client, all of whose request has been read, is still there. */
  BooleanSupplier watch() {
    // Helidon looks until the time for reading is over, and then counts the client as gone.
    socket().ifPresent(socket -> setTimeout(socket, Integer.MAX_VALUE));
    HelidonSocket watched = connection().serverSocket();
    watched.idle();
    return watched::isConnected;
  }

  /**
   * Reads on, for a while, what the current request's client still sends, and forgets it: a
   * connection that is closed amid a body is reset, and most clients then never see the answer.
   */
  void drain() {
    socket()
        .ifPresent(
            socket -> {
              long end = System.nanoTime() + DRAIN.toNanos();
              byte[] buffer = new byte[65536];
              try {
                socket.setSoTimeout(PAUSE_MILLIS);
                InputStream in = socket.getInputStream();
                while (System.nanoTime() < end && in.read(buffer) >= 0) {}
              } catch (IOException e) {
                // It sends no more, or has gone. The answer is tried either way.
              }
            });
  }

  private static void setTimeout(Socket socket, int millis) {
    try {
      socket.setSoTimeout(millis);
    } catch (SocketException e) { // the client has gone
      throw new UncheckedIOException(e);
    }
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
