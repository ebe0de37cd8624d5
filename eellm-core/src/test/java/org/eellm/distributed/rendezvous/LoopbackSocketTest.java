package org.eellm.distributed.rendezvous;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import org.junit.jupiter.api.Test;

final class LoopbackSocketTest {
  @Test
  void listen_portOfARunThatJustEnded_isOpened() throws IOException {
    assumeTrue(LoopbackSocket.isSupported());
    InetAddress loopback = InetAddress.getLoopbackAddress();
    int port;
    // The side that closes first keeps the connection's address for a minute.
    try (ServerSocket before = new ServerSocket(0, 1, loopback)) {
      port = before.getLocalPort();
      try (Socket client = new Socket(loopback, port)) {
        before.accept().close();
        assertThat(client.getInputStream().read()).isEqualTo(-1);
      }
    }
    int socket = LoopbackSocket.listen(port);
    assertThat(socket).isPositive();
    LoopbackSocket.close(socket);
  }
}
