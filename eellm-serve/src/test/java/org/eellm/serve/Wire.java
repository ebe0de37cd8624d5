package org.eellm.serve;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/** Requests for texts, and a client that does as it likes with its connection. */
final class Wire {
  static final String LONG =
      "{\"prompt\": \"the cat\", \"max_tokens\": 80, \"temperature\": 0,"
          + " \"early_exit\": {\"mode\": \"full\"}}";
  static final String STREAM = LONG.replace("{\"prompt\"", "{\"stream\": true, \"prompt\"");

  private Wire() {}

  static Socket connect(TestServer server) throws IOException {
    Socket socket = new Socket("127.0.0.1", server.server.port());
    socket.setSoTimeout(10_000);
    return socket;
  }

  static void write(Socket socket, String text) throws IOException {
    OutputStream out = socket.getOutputStream();
    out.write(text.getBytes(StandardCharsets.UTF_8));
    out.flush();
  }

  static String post(String body, String headers) {
    return "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + headers
        + "\r\n"
        + body;
  }

  static String post(String body) {
    return post(body, "Content-Length: " + body.length() + "\r\n");
  }

  static @Nullable String firstLine(Socket socket) throws IOException {
    return new BufferedReader(
            new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8))
        .readLine();
  }

  static ServerOptions timeouts(int read, int request, int drain) {
    return TestOptions.with(
        TestOptions.timeouts(
            Duration.ofMillis(read), Duration.ofMillis(request), Duration.ofMillis(drain)));
  }

  static void sleep(int millis) {
    try {
      Thread.sleep(millis);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }
}
