package org.eellm.distributed.message;

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
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.eellm.distributed.collective.Communicator;

/**
 * Connections between all members of a group. Each listens; those behind it connect, and show the
 * secret that it has told the group, so that nobody else gets in.
 */
final class PeerConnections {
  private static final int SECRET_BYTES = 16;

  /** Longest wait for a caller's secret. */
  private static final int HELLO_MILLIS = 2000;

  private PeerConnections() {}

  /**
   * Connects every member with every other; all call this.
   *
   * @param host address of this rank that the others reach
   * @return the connections by rank in the group
   * @throws IOException if some cannot be reached, or do not come
   */
  static Map<Integer, SocketChannel> open(Communicator group, String host, Duration timeout)
      throws IOException {
    byte[] secret = new byte[SECRET_BYTES];
    new SecureRandom().nextBytes(secret);
    try (ServerSocketChannel listener = ServerSocketChannel.open()) {
      listener.bind(new InetSocketAddress(host, 0), group.size());
      int port = ((InetSocketAddress) listener.getLocalAddress()).getPort();
      String own = HexFormat.of().formatHex(secret) + " " + port + " " + host;
      List<byte[]> all = group.gatherBytes(own.getBytes(StandardCharsets.UTF_8));
      long end = System.nanoTime() + timeout.toNanos();
      Map<Integer, SocketChannel> channels = new TreeMap<>();
      try {
        for (int peer = 0; peer < group.rank(); peer++) {
          String address = new String(all.get(peer), StandardCharsets.UTF_8);
          channels.put(peer, call(address, group.rank(), end));
        }
        while (channels.size() < group.size() - 1) {
          accept(listener, secret, end, channels);
        }
      } catch (IOException | RuntimeException e) {
        close(channels.values(), e);
        throw e;
      }
      return channels;
    }
  }

  /** Ends connections that are of no use, as something else has failed. */
  static void close(Collection<SocketChannel> channels, Exception failure) {
    for (SocketChannel channel : channels) {
      try {
        channel.close();
      } catch (IOException e) {
        failure.addSuppressed(e);
      }
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
      close(List.of(channel), e);
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

  /** Waits for a caller, who is put to {@code channels} if it is a member. */
  private static void accept(
      ServerSocketChannel listener, byte[] secret, long end, Map<Integer, SocketChannel> channels)
      throws IOException {
    listener.socket().setSoTimeout(millisUntil(end, "nobody has called"));
    Socket socket = listener.socket().accept();
    byte[] shown = new byte[SECRET_BYTES];
    try {
      socket.setSoTimeout(HELLO_MILLIS);
      DataInputStream in = new DataInputStream(socket.getInputStream());
      in.readFully(shown);
      if (MessageDigest.isEqual(shown, secret)) {
        channels.put(in.readInt(), socket.getChannel());
        return;
      }
    } catch (IOException _) {
      // A stranger, or a rank that has died, which is noticed soon enough.
    }
    socket.close();
  }
}
