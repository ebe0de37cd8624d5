package org.eellm.distributed.rendezvous;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.eellm.distributed.DistributedException;

/**
 * A listening socket that only this machine reaches. c10d's own listens on every network, and it
 * trusts whoever connects.
 */
final class LoopbackSocket {
  private static final int AF_INET = 2;
  private static final int SOCK_STREAM_CLOEXEC = 1 | 0x80000;
  private static final int SOL_SOCKET = 1;
  private static final int SO_REUSEADDR = 2;
  private static final int BACKLOG = 1024;
  private static final int ADDRESS = 0x7f000001;
  private static final int ADDRESS_BYTES = 16;

  private LoopbackSocket() {}

  /** Whether this system's structures are known here. */
  static boolean isSupported() {
    return System.getProperty("os.name").equals("Linux");
  }

  /**
   * Opens the socket.
   *
   * @param port 0 for any that is free
   * @return its file descriptor, which the caller owns
   * @throws DistributedException if the port is taken
   */
  static int listen(int port) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment address = arena.allocate(ADDRESS_BYTES, 4);
      var bigEndianShort = ValueLayout.JAVA_SHORT.withOrder(ByteOrder.BIG_ENDIAN);
      var bigEndianInt = ValueLayout.JAVA_INT.withOrder(ByteOrder.BIG_ENDIAN);
      address.set(ValueLayout.JAVA_SHORT, 0, (short) AF_INET);
      address.set(bigEndianShort, 2, (short) port);
      address.set(bigEndianInt, 4, ADDRESS);
      int socket = call("socket", AF_INET, SOCK_STREAM_CLOEXEC, 0);
      MemorySegment one = arena.allocateFrom(ValueLayout.JAVA_INT, 1);
      // Reuse lets the port be taken while connections of a run that has ended linger.
      if (socket < 0
          || call("setsockopt", socket, SOL_SOCKET, SO_REUSEADDR, one, Integer.BYTES) != 0
          || call("bind", socket, address, ADDRESS_BYTES) != 0
          || call("listen", socket, BACKLOG) != 0) {
        if (socket >= 0) {
          close(socket);
        }
        throw new DistributedException("port " + port + " of 127.0.0.1 is taken");
      }
      return socket;
    }
  }

  /** Closes a socket that nobody took over. */
  static void close(int socket) {
    call("close", socket);
  }

  /** Calls a function of C's library that takes ints and addresses, and returns an int. */
  private static int call(String function, Object... arguments) {
    MemoryLayout[] types =
        Arrays.stream(arguments)
            .map(each -> each instanceof Integer ? ValueLayout.JAVA_INT : ValueLayout.ADDRESS)
            .toArray(MemoryLayout[]::new);
    Linker linker = Linker.nativeLinker();
    try {
      return (int)
          linker
              .downcallHandle(
                  linker.defaultLookup().findOrThrow(function),
                  FunctionDescriptor.of(ValueLayout.JAVA_INT, types))
              .invokeWithArguments(arguments);
    } catch (Throwable e) {
      throw new AssertionError(e); // Native code throws nothing.
    }
  }
}
