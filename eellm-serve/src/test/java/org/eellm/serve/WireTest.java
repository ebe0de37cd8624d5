package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.eellm.serve.TestServer.json;

import java.io.IOException;
import java.net.Socket;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Requests as bytes: bodies, chunks, framing, and what is no HTTP at all. */
@ExtendWith(OneThread.class)
final class WireTest {
  @TempDir private Path folder;

  private TestServer start(ServerOptions options) {
    return TestServer.start(folder, limits -> limits, options);
  }

  @Test
  void body_thatDoesNotCome_is408() throws IOException {
    try (TestServer server = start(Wire.timeouts(300, 5000, 1000));
        Socket socket = Wire.connect(server)) {
      Wire.write(socket, Wire.post("{\"prompt\"", "Content-Length: 100\r\n"));

      assertThat(Wire.firstLine(socket)).isEqualTo("HTTP/1.1 408 Request Timeout");
    }
  }

  @Test
  void body_thatTricklesIn_is408() throws IOException {
    try (TestServer server = start(Wire.timeouts(400, 5000, 1000));
        Socket socket = Wire.connect(server)) {
      Wire.write(socket, Wire.post("{", "Content-Length: 100\r\n"));
      while (socket.getInputStream().available() == 0) {
        Wire.sleep(100);
        Wire.write(socket, " ");
      }

      assertThat(Wire.firstLine(socket)).isEqualTo("HTTP/1.1 408 Request Timeout");
    }
  }

  @Test
  void body_thatIsTooLong_is413() throws IOException {
    try (TestServer server = start(ServerOptions.of(0))) {
      String body = "{\"prompt\": \"" + "a".repeat(ServerOptions.MAX_BODY_BYTES) + "\"}";
      try (Socket socket = Wire.connect(server)) {
        Wire.write(socket, Wire.post("", "Content-Length: 1000000000\r\n"));
        assertThat(Wire.firstLine(socket)).startsWith("HTTP/1.1 413");
      }
      try (Socket socket = Wire.connect(server)) {
        // In chunks, so that the length is not known before.
        String chunk = "%x\r\n%s\r\n0\r\n\r\n".formatted(body.length(), body);
        Wire.write(socket, Wire.post(chunk, "Transfer-Encoding: chunked\r\n"));
        assertThat(Wire.firstLine(socket)).startsWith("HTTP/1.1 413");
      }
      assertThat(server.post("/v1/completions", Wire.LONG).statusCode()).isEqualTo(200);
    }
  }

  @Test
  void body_thatIsTooLong_isReadOnSoThatItsClientSeesTheAnswer() {
    try (TestServer server = start(ServerOptions.of(0))) {
      String body = "{\"prompt\": \"" + "a".repeat(16 << 20) + "\"}";

      HttpResponse<String> response = server.post("/v1/completions", body);

      assertThat(response.statusCode()).isEqualTo(413);
      assertThat(json(response).path("error").path("code").asText()).isEqualTo("body_too_large");
    }
  }

  @Test
  void chunk_thatIsTooLong_isRefusedBeforeItIsThere() throws IOException {
    try (TestServer server = start(ServerOptions.of(0));
        Socket socket = Wire.connect(server)) {
      Wire.write(socket, Wire.post("7fffffff\r\nabc", "Transfer-Encoding: chunked\r\n"));

      assertThat(Wire.firstLine(socket)).startsWith("HTTP/1.1 413");
    }
  }

  @Test
  void chunk_thatIsMalformed_is400() throws IOException {
    try (TestServer server = start(ServerOptions.of(0))) {
      for (String chunk : List.of("zz\r\n\r\n", "-5\r\n\r\n", "fffffffffffff\r\nabc")) {
        try (Socket socket = Wire.connect(server)) {
          Wire.write(socket, Wire.post(chunk, "Transfer-Encoding: chunked\r\n"));
          assertThat(Wire.firstLine(socket)).as(chunk).startsWith("HTTP/1.1 400");
        }
      }
    }
  }

  @Test
  void connection_thatIsToBeClosed_isClosedAfterTheAnswer() throws IOException {
    try (TestServer server = start(ServerOptions.of(0))) {
      for (String body : List.of(Wire.LONG, Wire.STREAM, "nonsense")) {
        try (Socket socket = Wire.connect(server)) {
          socket.setSoTimeout(5000);
          String length = "Content-Length: " + body.length() + "\r\n";
          Wire.write(socket, Wire.post(body, length + "Connection: close\r\n"));

          String answer =
              new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);

          assertThat(answer).startsWith("HTTP/1.1 ").contains("Connection: close");
        }
      }
    }
  }

  @Test
  void requests_oneBehindTheOtherInAConnection_areAllAnswered() throws IOException {
    try (TestServer server = start(ServerOptions.of(0));
        Socket socket = Wire.connect(server)) {
      String get = "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n";
      Wire.write(
          socket,
          Wire.post(Wire.LONG)
              + Wire.post(Wire.STREAM)
              + get
              + "\r\n"
              + Wire.post(Wire.LONG)
              + get
              + "Connection: close\r\n\r\n");

      String answers = new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);

      assertThat(answers.split("HTTP/1.1 200 OK", -1)).hasSize(4);
      assertThat(answers.split("HTTP/1.1 404 Not Found", -1)).hasSize(3);
    }
  }

  @Test
  void framing_thatContradictsItself_is400InOpenAisShape() throws IOException {
    try (TestServer server = start(ServerOptions.of(0));
        Socket socket = Wire.connect(server)) {
      Wire.write(
          socket, Wire.post("0\r\n\r\n", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"));

      String answer = new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);

      assertThat(answer)
          .startsWith("HTTP/1.1 400")
          .contains("\"type\":\"invalid_request_error\"")
          .contains("must not be combined");
    }
  }

  @Test
  void garbage_insteadOfHttp_is400() throws IOException {
    try (TestServer server = start(ServerOptions.of(0))) {
      for (String garbage :
          List.of("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + "a".repeat(100_000) + "\r\n\r\n")) {
        try (Socket socket = Wire.connect(server)) {
          Wire.write(socket, garbage);
          String line = Wire.firstLine(socket);
          assertThat(line).as(garbage).matches("HTTP/1.1 4.*");
        }
      }
      for (String garbage :
          List.of(
              "\u0001\u0002\u0003\r\n\r\n",
              "GET\r\n\r\n",
              "GET / HTTP/9.9\r\n\r\n",
              "GET /" + "a".repeat(20_000))) {
        try (Socket socket = Wire.connect(server)) {
          Wire.write(socket, garbage);
          assertThat(Wire.firstLine(socket)).isNull(); // no HTTP at all: the connection is closed
        }
      }
      assertThat(server.get("/health").statusCode()).isEqualTo(200);
    }
  }
}
