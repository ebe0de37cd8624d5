package org.eellm.serve.connection;

import io.helidon.common.buffers.BufferData;
import io.helidon.common.socket.HelidonSocket;
import io.helidon.http.DirectHandler.EventType;
import io.helidon.http.RequestException;
import io.helidon.http.Status;
import io.helidon.webserver.CloseConnectionException;
import io.helidon.webserver.ConnectionContext;
import io.helidon.webserver.ServerConnectionException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.time.Duration;
import java.util.Objects;
import java.util.function.BooleanSupplier;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * A client's connection: how long it may take to send a request's head and its body, and whether it
 * is still there while it is to wait.
 */
public final class Connection {
  /** How long a connection may stay open without requests. */
  private static final Duration IDLE = Duration.ofMinutes(1);

  /** How long a client may go on sending what is too long. */
  private static final Duration DRAIN = Duration.ofSeconds(2);

  /** Without a byte for so long, a client waits for its answer. */
  private static final int PAUSE_MILLIS = 300;

  /** More than any first line that Helidon takes. */
  private static final int MAX_LINE_BYTES = 8 << 10;

  /** More than any head that Helidon takes. */
  private static final int MAX_HEAD_BYTES = 32 << 10;

  /** The part of a request that is read next; none while one is in work. */
  private enum Phase {
    BETWEEN,
    HEAD,
    BODY,
    WORK,
    /** The rest of a request that has been answered. */
    REST
  }

  private final Socket socket;
  private final Duration readTimeout;
  private volatile Phase phase = Phase.BETWEEN;
  private volatile long since = System.nanoTime();
  private volatile boolean answered;
  private boolean http10;
  private volatile @Nullable ConnectionContext context;

  Connection(Socket socket, Duration readTimeout) {
    this.socket = socket;
    this.readTimeout = readTimeout;
    setTimeout(readTimeout.toMillis()); // for what is read before any request, as of TLS
  }

  void begin(ConnectionContext opened) {
    context = opened;
  }

  /** Ends it where the TLS handshake, which comes before {@link #begin}, is not over. */
  void closeUnlessBegun() {
    if (context == null) {
      close();
    }
  }

  private ConnectionContext context() {
    return Objects.requireNonNull(context, "the connection has begun");
  }

  /** Where the client is. */
  public InetAddress address() {
    return socket.getInetAddress();
  }

  boolean isClosed() {
    return socket.isClosed();
  }

  boolean isInWork() {
    return phase == Phase.WORK;
  }

  /** Whether any request of this connection has been answered. */
  boolean isAnswered() {
    return answered;
  }

  /** {@link System#nanoTime} from which on it has been doing what it does. */
  long since() {
    return since;
  }

  /** Ends it, from any thread. */
  void close() {
    try {
      socket.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void enter(Phase next) {
    phase = next;
    since = System.nanoTime();
  }

  /** The next bytes of the client, within the time for what they belong to. */
  byte @Nullable [] read() {
    return switch (phase) {
      case BETWEEN -> beginning();
      case HEAD, BODY -> rest(408);
      case WORK, REST -> rest(0);
    };
  }

  /** A request's first bytes: at least its first line, and the whole head in HTTP/1.0. */
  private byte @Nullable [] beginning() {
    setTimeout((answered ? IDLE : readTimeout).toMillis());
    byte[] bytes = bytes(0);
    if (bytes == null) {
      return null;
    }
    enter(Phase.HEAD);
    bytes = readOn(bytes, Connection::hasLine, MAX_LINE_BYTES);
    http10 = hasLine(bytes) && Http10.isVersionOf(bytes);
    return http10 ? Http10.asHttp11(readOn(bytes, Http10::hasWholeHead, MAX_HEAD_BYTES)) : bytes;
  }

  private static boolean hasLine(byte[] bytes) {
    for (byte value : bytes) {
      if (value == '\n') {
        return true;
      }
    }
    return false;
  }

  private byte[] readOn(byte[] begun, Predicate<byte[]> enough, int most) {
    byte[] all = begun;
    while (!enough.test(all) && all.length < most) {
      byte[] more = rest(408);
      if (more == null) {
        return all;
      }
      ByteArrayOutputStream both = new ByteArrayOutputStream();
      both.writeBytes(all);
      both.writeBytes(more);
      all = both.toByteArray();
    }
    return all;
  }

  /**
   * The next bytes of a part of a request that has begun.
   *
   * @param status of the answer if it does not come in time; 0 for none
   */
  private byte @Nullable [] rest(int status) {
    long left = readTimeout.toNanos() - (System.nanoTime() - since);
    if (left <= 0) {
      throw tooSlow(status);
    }
    setTimeout(Math.max(1, left / 1_000_000));
    return bytes(status);
  }

  private byte @Nullable [] bytes(int statusIfLate) {
    try {
      return context().serverSocket().get();
    } catch (RuntimeException e) {
      if (isTimeout(e)) {
        throw tooSlow(statusIfLate);
      }
      throw new ServerConnectionException("the client has gone", e);
    }
  }

  private static boolean isTimeout(Throwable e) {
    for (Throwable cause = e; cause != null; cause = cause.getCause()) {
      if (cause instanceof SocketTimeoutException) {
        return true;
      }
    }
    return false;
  }

  private static RuntimeException tooSlow(int status) {
    return status == 0
        ? new CloseConnectionException("the client has sent nothing for too long")
        : RequestException.builder()
            .type(EventType.BAD_REQUEST)
            .status(Status.create(status))
            .setKeepAlive(false)
            .message("the request was not there in time")
            .build();
  }

  /** The head has been read. */
  void headIsRead() {
    enter(Phase.BODY);
  }

  /** The first line of a request has been read. */
  void lineIsRead() {
    if (phase != Phase.HEAD) { // it came with the request before
      enter(Phase.HEAD);
    }
  }

  /** Whether what is wrong with the current request is its head. */
  public boolean isReadingHead() {
    return phase == Phase.BETWEEN || phase == Phase.HEAD;
  }

  /**
   * The current request is answered.
   *
   * @param whole whether all of it has been read
   */
  public void requestIsAnswered(boolean whole) {
    answered = true;
    enter(whole ? Phase.BETWEEN : Phase.REST);
  }

  /** Whether the client speaks HTTP/1.0, which has no chunks. */
  public boolean isHttp10() {
    return http10;
  }

  /** Sends bytes as they are, where Helidon would send chunks. */
  public void send(byte[] bytes) {
    context().dataWriter().writeNow(BufferData.create(bytes));
  }

  /** Whether the client, all of whose request has been read, is still there. */
  public BooleanSupplier watch() {
    enter(Phase.WORK);
    // Helidon looks until the time for reading is over, and then counts the client as gone.
    setTimeout(Integer.MAX_VALUE);
    HelidonSocket watched = context().serverSocket();
    watched.idle();
    return watched::isConnected;
  }

  /**
   * Reads on, for a while, what the client still sends, and forgets it: a connection that is closed
   * amid a body is reset, and most clients then never see the answer.
   */
  public void drain() {
    long end = System.nanoTime() + DRAIN.toNanos();
    byte[] buffer = new byte[65536];
    try {
      socket.setSoTimeout(PAUSE_MILLIS);
      InputStream in = socket.getInputStream();
      while (System.nanoTime() < end && in.read(buffer) >= 0) {}
    } catch (IOException e) {
      // It sends no more, or has gone. The answer is tried either way.
    }
  }

  private void setTimeout(long millis) {
    try {
      socket.setSoTimeout((int) Math.min(Integer.MAX_VALUE, millis));
    } catch (SocketException e) { // the client has gone
      throw new ServerConnectionException("the client has gone", e);
    }
  }
}
