package org.eellm.distributed.launch;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.eellm.distributed.DistributedException;

/**
 * A listening socket that only this machine reaches. c10d's own listens on every network, and it
 * trusts whoever connects.
 */
public final class LoopbackSocket {
  private static final int AF_INET = 2;
  private static final int SOCK_STREAM_CLOEXEC = 1 | 0x80000;
  private static final int SOL_SOCKET = 1;
  private static final int SO_REUSEADDR = 2;
  private static final int BACKLOG = 1024;
  private static final int ADDRESS = 0x7f000001;
  private static final int ADDRESS_BYTES = 16;

  private LoopbackSocket() {}

  /** Whether this system's structures are known here. */
  public static boolean isSupported() {
    return System.getProperty("os.name").equals("Linux");
  }

  /**
   * Opens the socket.
   *
   * @param port 0 for any that is free
   * @return its file descriptor, which the caller owns
   * @throws DistributedException if the port is taken
   */
  public static int listen(int port) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment address = arena.allocate(ADDRESS_BYTES, 4);
      var bigEndianShort = ValueLayout.JAVA_SHORT.withOrder(ByteOrder.BIG_ENDIAN);
      var bigEndianInt = ValueLayout.JAVA_INT.withOrder(ByteOrder.BIG_ENDIAN);
      address.set(ValueLayout.JAVA_SHORT, 0, (short) AF_INET);
      address.set(bigEndianShort, 2, (short) port);
      address.set(bigEndianInt, 4, ADDRESS);
      int socket = call("socket", AF_INET, SOCK_STREAM_CLOEXEC, 0);
      if (socket < 0
          || !reuse(socket, arena)
          || bind(socket, address) != 0
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

  /** Lets the port be used again while connections of a run that has ended linger. */
  private static boolean reuse(int socket, Arena arena) {
    FunctionDescriptor descriptor =
        FunctionDescriptor.of(
            ValueLayout.JAVA_INT,
            ValueLayout.JAVA_INT,
            ValueLayout.JAVA_INT,
            ValueLayout.JAVA_INT,
            ValueLayout.ADDRESS,
            ValueLayout.JAVA_INT);
    MemorySegment one = arena.allocateFrom(ValueLayout.JAVA_INT, 1);
    try {
      return (int)
              Linker.nativeLinker()
                  .downcallHandle(symbol("setsockopt"), descriptor)
                  .invokeExact(socket, SOL_SOCKET, SO_REUSEADDR, one, Integer.BYTES)
          == 0;
    } catch (Throwable e) {
      throw new AssertionError(e); // Native code throws nothing.
    }
  }

  private static int bind(int socket, MemorySegment address) {
    FunctionDescriptor descriptor =
        FunctionDescriptor.of(
            ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.JAVA_INT);
    try {
      return (int)
          Linker.nativeLinker()
              .downcallHandle(symbol("bind"), descriptor)
              .invokeExact(socket, address, ADDRESS_BYTES);
    } catch (Throwable e) {
      throw new AssertionError(e); // Native code throws nothing.
    }
  }

  /** Calls a function of C's library that takes and returns ints. */
  private static int call(String function, Integer... arguments) {
    ValueLayout[] types = new ValueLayout[arguments.length];
    Arrays.fill(types, ValueLayout.JAVA_INT);
    try {
      return (int)
          Linker.nativeLinker()
              .downcallHandle(symbol(function), FunctionDescriptor.of(ValueLayout.JAVA_INT, types))
              .invokeWithArguments((Object[]) arguments);
    } catch (Throwable e) {
      throw new AssertionError(e); // Native code throws nothing.
    }
  }

  private static MemorySegment symbol(String name) {
    SymbolLookup library = Linker.nativeLinker().defaultLookup();
    return library.findOrThrow(name);
  }
}
