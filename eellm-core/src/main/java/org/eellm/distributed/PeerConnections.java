package org.eellm.distributed;

import java.io.Closeable;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;

/**
 * Connections between all members of a group. Each listens; those behind it connect, and show the
 * secret that it has told the group, so that nobody else gets in.
 */
final class PeerConnections {
  private static final int SECRET_BYTES = 16;

  /** What a caller may take to show its secret. */
  private static final int HELLO_MILLIS = 2000;

  /**
   * A connection.
   *
   * @param peer rank in the group
   */
  record PeerConnection(int peer, SocketChannel channel) {}

  private PeerConnections() {}

  /**
   * Connects every member with every other; all call this.
   *
   * @param host address of this rank that the others reach
   * @throws IOException if some cannot be reached, or do not come
   */
  static List<PeerConnection> open(Communicator group, String host, Duration timeout)
      throws IOException {
    byte[] secret = new byte[SECRET_BYTES];
    new SecureRandom().nextBytes(secret);
    try (ServerSocketChannel listener = ServerSocketChannel.open()) {
      listener.bind(new InetSocketAddress(host, 0), group.size());
      int port = ((InetSocketAddress) listener.getLocalAddress()).getPort();
      String own = HexFormat.of().formatHex(secret) + " " + port + " " + host;
      List<byte[]> all = group.gatherBytes(own.getBytes(StandardCharsets.UTF_8));
      long end = System.nanoTime() + timeout.toNanos();
      List<PeerConnection> routes = new ArrayList<>();
      try {
        for (int peer = 0; peer < group.rank(); peer++) {
          String address = new String(all.get(peer), StandardCharsets.UTF_8);
          routes.add(new PeerConnection(peer, call(address, group.rank(), end)));
        }
        while (routes.size() < group.size() - 1) {
          accept(listener, secret, end).ifPresent(routes::add);
        }
      } catch (IOException | RuntimeException e) {
        close(routes, e);
        throw e;
      }
      return routes;
    }
  }

  /** Ends connections that are of no use, as something else has failed. */
  static void close(List<PeerConnection> routes, Exception failure) {
    for (PeerConnection route : routes) {
      close(route.channel(), failure);
    }
  }

  private static void close(Closeable connection, Exception failure) {
    try {
      connection.close();
    } catch (IOException e) {
      failure.addSuppressed(e);
    }
  }

  private static SocketChannel call(String address, int own, long end) throws IOException {
    String[] parts = address.split(" ", 3);
    SocketChannel channel = SocketChannel.open();
    try {
      Socket socket = channel.socket();
      socket.connect(
          new InetSocketAddress(parts[2], Integer.parseInt(parts[1])),
          millisUntil(end, "does not answer"));
      DataOutputStream out = new DataOutputStream(socket.getOutputStream());
      out.write(HexFormat.of().parseHex(parts[0]));
      out.writeInt(own);
    } catch (IOException | RuntimeException e) {
      close(channel, e);
      throw e;
    }
    return channel;
  }

  private static int millisUntil(long end, String otherwise) throws SocketTimeoutException {
    long left = (end - System.nanoTime()) / 1_000_000;
    if (left <= 0) {
      throw new SocketTimeoutException(otherwise);
    }
    return Math.toIntExact(Math.min(left, Integer.MAX_VALUE));
  }

  private static Optional<PeerConnection> accept(
      ServerSocketChannel listener, byte[] secret, long end) throws IOException {
    listener.socket().setSoTimeout(millisUntil(end, "nobody has called"));
    Socket socket = listener.socket().accept();
    byte[] shown = new byte[SECRET_BYTES];
    try {
      socket.setSoTimeout(HELLO_MILLIS);
      DataInputStream in = new DataInputStream(socket.getInputStream());
      in.readFully(shown);
      if (MessageDigest.isEqual(shown, secret)) {
        return Optional.of(new PeerConnection(in.readInt(), socket.getChannel()));
      }
    } catch (IOException _) {
      // A stranger, or a rank that has died, which is noticed soon enough.
    }
    socket.close();
    return Optional.empty();
  }
}
