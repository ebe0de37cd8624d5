package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.eellm.serve.TestServer.json;

import java.io.IOException;
import java.net.Socket;
import java.net.SocketException;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

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

  /** Sends a little now and then, until an answer is there. */
  private static void drip(Socket socket, String text) throws IOException {
    try {
      while (socket.getInputStream().available() == 0) {
        Wire.write(socket, text);
        Wire.sleep(50);
      }
    } catch (SocketException e) {
      // The server has answered and closed between the look and the write.
    }
  }

  @Test
  void body_thatTricklesIn_is408() throws IOException {
    try (TestServer server = start(Wire.timeouts(400, 5000, 1000));
        Socket socket = Wire.connect(server)) {
      Wire.write(socket, Wire.post("{", "Content-Length: 100\r\n"));
      drip(socket, " ");

      assertThat(Wire.firstLine(socket)).isEqualTo("HTTP/1.1 408 Request Timeout");
    }
  }

  @Test
  void body_thatIsTooLong_is413() throws IOException {
    try (TestServer server = start(TestOptions.at(0))) {
      String body = "{\"prompt\": \"" + "a".repeat(ServerOptions.Bounds.MAX_BODY_BYTES) + "\"}";
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
    try (TestServer server = start(TestOptions.at(0))) {
      String body = "{\"prompt\": \"" + "a".repeat(16 << 20) + "\"}";

      HttpResponse<String> response = server.post("/v1/completions", body);

      assertThat(response.statusCode()).isEqualTo(413);
      assertThat(json(response).path("error").path("code").asText()).isEqualTo("body_too_large");
    }
  }

  @Test
  void chunk_thatIsTooLong_isRefusedBeforeItIsThere() throws IOException {
    try (TestServer server = start(TestOptions.at(0));
        Socket socket = Wire.connect(server)) {
      Wire.write(socket, Wire.post("7fffffff\r\nabc", "Transfer-Encoding: chunked\r\n"));

      assertThat(Wire.firstLine(socket)).startsWith("HTTP/1.1 413");
    }
  }

  @Test
  void chunk_thatIsMalformed_is400() throws IOException {
    try (TestServer server = start(TestOptions.at(0))) {
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
    try (TestServer server = start(TestOptions.at(0))) {
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
    try (TestServer server = start(TestOptions.at(0));
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
    try (TestServer server = start(TestOptions.at(0));
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

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "GET / HTTP/1.1<>Host: localhost<>X: AAAAAAAA<><> | 400",
        "GET /AAAAAAAA | 414",
        "GET<><> | 400",
        "GET /health<><> | 400",
        "GET / HTTP/9.9<><> | 400",
        "PRI * HTTP/2.0<><>SM<><> | 400",
        "G\0T /health HTTP/1.1<>Host: localhost<><> | 400",
        "\0 /health HTTP/1.1<>Host: localhost<><> | 400",
        "GET /health HTTP/1.1<>Ho\0st: localhost<><> | 400",
        "GET /health HTTP/1.1<>Host: local\0host<><> | 400",
        "GET /he\0alth HTTP/1.1<>Host: localhost<><> | 400",
        "GET /health HTTP/1.1<><> | 400",
        "GET /health HTTP/1.1<>Host: a<>Host: b<><> | 400",
        "GET /health HTTP/1.1<>Host localhost<><> | 400",
      })
  void head_thatIsMalformed_isRefusedWithAJsonError(String head, int status) throws IOException {
    try (TestServer server = start(TestOptions.at(0));
        Socket socket = Wire.connect(server)) {
      Wire.write(
          socket,
          head.replace("<>", "\r\n").replace("\\0", "\0").replace("AAAAAAAA", "a".repeat(20_000)));

      String answer = new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);

      assertThat(answer)
          .startsWith("HTTP/1.1 " + status)
          .contains("\"type\":\"invalid_request_error\"")
          .doesNotContain("server log");
      assertThat(server.get("/health").statusCode()).isEqualTo(200);
    }
  }

  @Test
  void head_thatDripsIn_is408() throws IOException {
    try (TestServer server = start(Wire.timeouts(300, 5000, 1000));
        Socket socket = Wire.connect(server)) {
      Wire.write(socket, "GET /health HTTP/1.1\r\n");
      drip(socket, "X: y\r\n");

      assertThat(Wire.firstLine(socket)).isEqualTo("HTTP/1.1 408 Request Timeout");
    }
  }

  @Test
  void connection_thatSendsNothing_isClosed() throws IOException {
    try (TestServer server = start(Wire.timeouts(100, 5000, 1000));
        Socket socket = Wire.connect(server)) {
      assertThat(socket.getInputStream().read()).isEqualTo(-1);
    }
  }

  @Test
  void body_thatNobodyReads_leavesTheConnectionInOrder() throws IOException {
    try (TestServer server = start(TestOptions.at(0));
        Socket socket = Wire.connect(server)) {
      String refused = "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 29\r\n\r\n";
      Wire.write(socket, refused);
      assertThat(new String(socket.getInputStream().readNBytes(12), StandardCharsets.UTF_8))
          .isEqualTo("HTTP/1.1 404");
      Wire.write(socket, "GET / HTTP/1.0\r\n\r\n ten more");
      Wire.write(socket, "x GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");

      String rest = new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);

      assertThat(rest).containsOnlyOnce("HTTP/1.1 200 OK").endsWith("{\"status\":\"ok\"}");
    }
  }

  @Test
  void http10_isAnsweredAndItsConnectionClosed() throws IOException {
    try (TestServer server = start(TestOptions.at(0))) {
      for (String headers : List.of("", "Host: localhost\r\nConnection: keep-alive\r\n")) {
        try (Socket socket = Wire.connect(server)) {
          Wire.write(socket, "GET /health HTTP/1.0\r\n");
          Wire.write(socket, headers + "\r\n");

          String answer =
              new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);

          assertThat(answer)
              .startsWith("HTTP/1.1 200 OK")
              .contains("Connection: close")
              .endsWith("{\"status\":\"ok\"}");
        }
      }
      try (Socket socket = Wire.connect(server)) {
        Wire.write(socket, Wire.post(Wire.LONG).replace("HTTP/1.1", "HTTP/1.0"));
        assertThat(Wire.firstLine(socket)).isEqualTo("HTTP/1.1 200 OK");
      }
    }
  }

  @Test
  void stream_inHttp10_hasNoChunks() throws IOException {
    try (TestServer server = start(TestOptions.at(0));
        Socket socket = Wire.connect(server)) {
      Wire.write(socket, Wire.post(Wire.STREAM).replace("HTTP/1.1", "HTTP/1.0"));

      String answer = new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);

      String[] parts = answer.split("\r\n\r\n", 2);
      assertThat(parts[0])
          .startsWith("HTTP/1.1 200 OK")
          .contains("Content-Type: text/event-stream", "Connection: close")
          .doesNotContain("chunked");
      assertThat(parts[1]).startsWith("data: {").endsWith("data: [DONE]\n\n");
      assertThat(parts[1].split("\n\n"))
          .hasSameSizeAs(server.post("/v1/completions", Wire.STREAM).body().split("\n\n"));
      server.awaitIdle();
    }
  }
}
