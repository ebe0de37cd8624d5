package org.eellm.distributed;

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
final class MailRoutes {
  private static final int SECRET_BYTES = 16;

  /** What a caller may take to show its secret. */
  private static final int HELLO_MILLIS = 2000;

  /**
   * A connection.
   *
   * @param peer rank in the group
   */
  record Route(int peer, SocketChannel channel) {}

  private MailRoutes() {}

  /**
   * Connects every member with every other; all call this.
   *
   * @param host address of this rank that the others reach
   * @throws IOException if some cannot be reached, or do not come
   */
  static List<Route> open(Communicator group, String host, Duration timeout) throws IOException {
    byte[] secret = new byte[SECRET_BYTES];
    new SecureRandom().nextBytes(secret);
    try (ServerSocketChannel listener = ServerSocketChannel.open()) {
      listener.bind(new InetSocketAddress(host, 0), group.size());
      int port = ((InetSocketAddress) listener.getLocalAddress()).getPort();
      String own = HexFormat.of().formatHex(secret) + " " + port + " " + host;
      List<byte[]> all = group.gatherBytes(own.getBytes(StandardCharsets.UTF_8));
      List<Route> routes = new ArrayList<>();
      for (int peer = 0; peer < group.rank(); peer++) {
        routes.add(call(peer, new String(all.get(peer), StandardCharsets.UTF_8), group.rank()));
      }
      long end = System.nanoTime() + timeout.toNanos();
      while (routes.size() < group.size() - 1) {
        accept(listener, secret, end).ifPresent(routes::add);
      }
      return routes;
    }
  }

  private static Route call(int peer, String address, int own) throws IOException {
    String[] parts = address.split(" ", 3);
    SocketChannel channel =
        SocketChannel.open(new InetSocketAddress(parts[2], Integer.parseInt(parts[1])));
    DataOutputStream out = new DataOutputStream(channel.socket().getOutputStream());
    out.write(HexFormat.of().parseHex(parts[0]));
    out.writeInt(own);
    return new Route(peer, channel);
  }

  private static Optional<Route> accept(ServerSocketChannel listener, byte[] secret, long end)
      throws IOException {
    long left = (end - System.nanoTime()) / 1_000_000;
    if (left <= 0) {
      throw new SocketTimeoutException("nobody has called");
    }
    listener.socket().setSoTimeout(Math.toIntExact(Math.min(left, Integer.MAX_VALUE)));
    Socket socket = listener.socket().accept();
    socket.setSoTimeout(HELLO_MILLIS);
    byte[] shown = new byte[SECRET_BYTES];
    try {
      DataInputStream in = new DataInputStream(socket.getInputStream());
      in.readFully(shown);
      if (MessageDigest.isEqual(shown, secret)) {
        return Optional.of(new Route(in.readInt(), socket.getChannel()));
      }
    } catch (IOException _) {
      // A stranger, or a rank that has died, which is noticed soon enough.
    }
    socket.close();
    return Optional.empty();
  }
}
