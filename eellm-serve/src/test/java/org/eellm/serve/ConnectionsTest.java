package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.InputStream;
import java.net.Socket;
import java.net.SocketException;
import java.net.URI;
import java.net.URISyntaxException;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import org.eellm.config.SettingException;
import org.eellm.serve.ServerOptions.TlsFiles;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Connections: how many there may be, TLS, and whatever may come through one. */
@ExtendWith(OneThread.class)
final class ConnectionsTest {
  private static final String HEALTH = "GET /health HTTP/1.1\r\nHost: localhost\r\n";

  @TempDir private Path folder;

  private TestServer start(int most, int mostOfAnAddress) {
    return TestServer.start(
        folder,
        limits -> limits.withBatchSize(4),
        TestOptions.with(TestOptions.connections(most, mostOfAnAddress)));
  }

  private static String head(Socket socket) throws IOException {
    StringBuilder head = new StringBuilder();
    while (head.indexOf("\r\n\r\n") < 0) {
      int value = socket.getInputStream().read();
      assertThat(value).as("after " + head).isNotNegative();
      head.append((char) value);
    }
    return head.toString();
  }

  private static boolean isClosed(Socket socket) throws IOException {
    try {
      return socket.getInputStream().read() < 0;
    } catch (SocketException e) {
      return true; // reset
    }
  }

  @Test
  void connections_thatDrip_makeWayForNewOnesAndForThoseThatHadAnswers() throws IOException {
    for (int[] bounds : new int[][] {{200, 12}, {12, 200}}) {
      List<Socket> dripping = new ArrayList<>();
      try (TestServer server = start(bounds[0], bounds[1]);
          Socket client = Wire.connect(server)) {
        Wire.write(client, HEALTH + "\r\n");
        assertThat(head(client)).startsWith("HTTP/1.1 200");
        client.getInputStream().readNBytes("{\"status\":\"ok\"}".length());

        for (int i = 0; i < 60; i++) {
          Socket socket = Wire.connect(server);
          dripping.add(socket);
          Wire.write(socket, HEALTH);
        }

        assertThat(server.post("/v1/completions", Wire.LONG).statusCode()).isEqualTo(200);
        Wire.write(client, HEALTH + "Connection: close\r\n\r\n");
        assertThat(head(client)).startsWith("HTTP/1.1 200");
        assertThat(isClosed(dripping.getFirst())).isTrue();
      } finally {
        for (Socket socket : dripping) {
          socket.close();
        }
      }
    }
  }

  @Test
  void connection_beyondThoseOfItsAddressThatAllWork_is503() throws IOException {
    try (TestServer server = start(100, 2)) {
      List<Socket> working = new ArrayList<>();
      try (ServerLimitsTest.Brake _ = ServerLimitsTest.Brake.on(server)) {
        for (int i = 0; i < 2; i++) {
          Socket socket = Wire.connect(server);
          working.add(socket);
          Wire.write(socket, Wire.post(Wire.LONG));
        }
        ServerLimitsTest.until(() -> server.engine.status().queued() == 2);
        try (Socket refused = Wire.connect(server)) {
          assertThat(Wire.firstLine(refused)).isEqualTo("HTTP/1.1 503 Service Unavailable");
        }
      }
      for (Socket socket : working) {
        assertThat(Wire.firstLine(socket)).isEqualTo("HTTP/1.1 200 OK");
        socket.close();
      }
    }
  }

  /** More than an address may have at once, each kept open by its client. */
  @Test
  void connect_heldByManyClients_isRefusedAndClosedWithoutAKeyOrAHost() throws IOException {
    List<Socket> held = new ArrayList<>();
    ServerOptions options =
        TestOptions.with(AccessTest.keys("open sesame"), TestOptions.connections(200, 100));
    try (TestServer server = TestServer.start(folder, limits -> limits, options)) {
      for (int i = 0; i < 1200; i++) {
        Socket socket = Wire.connect(server);
        held.add(socket);
        Wire.write(socket, "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n");
        assertThat(new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8))
            .startsWith("HTTP/1.1 405 Method Not Allowed\r\n")
            .contains("Allow: GET, HEAD, POST, PUT\r\n")
            .contains("\"message\":\"CONNECT is not offered: ");
      }
      assertThat(server.get("/health").statusCode()).isEqualTo(200);
    } finally {
      for (Socket socket : held) {
        socket.close();
      }
    }
  }

  private static Path resource(String name) {
    try {
      return Path.of(
          Objects.requireNonNull(ConnectionsTest.class.getResource("tls/" + name), name).toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  private static ServerOptions tls(Path certificate, Path key) {
    ServerOptions.Access open = TestOptions.OPEN;
    return TestOptions.with(
        new ServerOptions.Access(
            open.keys(),
            open.hosts(),
            open.origins(),
            Optional.of(new TlsFiles(certificate, key))));
  }

  private static SSLContext trust(Path certificate) throws IOException, GeneralSecurityException {
    KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null);
    try (InputStream in = Files.newInputStream(certificate)) {
      store.setCertificateEntry(
          "server", CertificateFactory.getInstance("X.509").generateCertificate(in));
    }
    TrustManagerFactory trust =
        TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(store);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, trust.getTrustManagers(), null);
    return context;
  }

  @Test
  void tls_withACertificate_servesTextsAndStreams() throws Exception {
    Path certificate = resource("certificate.pem");
    try (TestServer server =
            TestServer.start(folder, limits -> limits, tls(certificate, resource("key.pem")));
        HttpClient client = HttpClient.newBuilder().sslContext(trust(certificate)).build()) {
      List<String> bodies = new ArrayList<>();
      for (String body : List.of(Wire.LONG, Wire.STREAM, Wire.LONG)) {
        HttpResponse<String> response =
            client.send(
                HttpRequest.newBuilder(
                        URI.create("https://localhost:" + server.server.port() + "/v1/completions"))
                    .header("Content-Type", "application/json")
                    .POST(BodyPublishers.ofString(body))
                    .build(),
                BodyHandlers.ofString());
        assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
        bodies.add(response.body());
      }
      assertThat(bodies.get(1)).endsWith("data: [DONE]\n\n");
      server.awaitIdle();
    }
  }

  @Test
  void tls_clientThatGoesWhileItWaits_isSeenToGo() throws Exception {
    SSLContext trust = trust(resource("certificate.pem"));
    try (TestServer server =
            TestServer.start(
                folder, limits -> limits, tls(resource("certificate.pem"), resource("key.pem")));
        HttpClient client = HttpClient.newBuilder().sslContext(trust).build();
        ServerLimitsTest.Brake _ = ServerLimitsTest.Brake.on(server)) {
      int port = server.server.port();
      try (Socket socket = trust.getSocketFactory().createSocket("127.0.0.1", port)) {
        Wire.write(socket, Wire.post(Wire.LONG));
        ServerLimitsTest.until(() -> server.engine.status().queued() == 1);
      }

      HttpRequest metrics =
          HttpRequest.newBuilder(URI.create("https://localhost:%d/metrics".formatted(port)))
              .build();
      ServerLimitsTest.until(
          () ->
              client
                  .sendAsync(metrics, BodyHandlers.ofString())
                  .join()
                  .body()
                  .contains("eellm_disconnects_total 1.0"));
    }
  }

  @Test
  void tls_handshakeThatNeverComes_isClosed() throws IOException {
    ServerOptions options =
        TestOptions.with(
            tls(resource("certificate.pem"), resource("key.pem")),
            Wire.timeouts(100, 5000, 1000).bounds());
    try (TestServer server = TestServer.start(folder, limits -> limits, options);
        Socket socket = Wire.connect(server)) {
      assertThat(isClosed(socket)).isTrue();
    }
  }

  /** Each byte comes in time, as the read of a socket counts it, but all of them never do. */
  @Test
  void tls_handshakeThatDrips_isClosed() throws Exception {
    ServerOptions options =
        TestOptions.with(
            tls(resource("certificate.pem"), resource("key.pem")),
            Wire.timeouts(200, 5000, 1000).bounds());
    try (TestServer server = TestServer.start(folder, limits -> limits, options);
        Socket socket = Wire.connect(server)) {
      byte[] record = new byte[500];
      System.arraycopy(new byte[] {22, 3, 1, 64, 0, 1}, 0, record, 0, 6);
      int sent = 0;
      try {
        for (; sent < record.length && socket.getInputStream().available() == 0; sent++) {
          socket.getOutputStream().write(record, sent, 1);
          Thread.sleep(10);
        }
      } catch (SocketException closed) {
        assertThat(sent).isPositive();
      }
      assertThat(sent).isLessThan(record.length);
    }
  }

  @Test
  void tls_withFilesThatAreNone_isRefusedByName() throws IOException {
    Path text = Files.writeString(folder.resolve("text.pem"), "no key");
    Path certificate = resource("certificate.pem");

    assertThatThrownBy(() -> Server.start(tls(certificate, folder.resolve("nowhere.pem"))))
        .isInstanceOf(SettingException.class)
        .hasMessageStartingWith("tls-key: '")
        .hasMessageContaining("nowhere.pem' cannot be read");
    assertThatThrownBy(() -> Server.start(tls(certificate, text)))
        .isInstanceOf(SettingException.class)
        .hasMessageContaining("are no key and certificate in PEM");
    assertThatThrownBy(() -> Server.start(tls(text, resource("key.pem"))))
        .isInstanceOf(SettingException.class)
        .hasMessageContaining("are no key and certificate in PEM");
  }

  /** A request with some of its bytes changed, left out or doubled. */
  private static byte[] mutated(byte[] request, RandomGenerator random) {
    byte[] bytes = request.clone();
    for (int i = random.nextInt(1, 5); i > 0; i--) {
      int at = random.nextInt(bytes.length);
      int length = random.nextInt(1, Math.min(8, bytes.length - at) + 1);
      byte[] next =
          switch (random.nextInt(4)) {
            case 0 -> bytes.clone();
            case 1 -> new byte[bytes.length - length];
            default -> new byte[bytes.length + length];
          };
      System.arraycopy(bytes, 0, next, 0, at);
      if (next.length == bytes.length) {
        next[at] = (byte) random.nextInt(256);
      } else if (next.length < bytes.length) {
        System.arraycopy(bytes, at + length, next, at, next.length - at);
      } else {
        for (int j = 0; j < length; j++) {
          next[at + j] = random.nextBoolean() ? bytes[at + j] : (byte) random.nextInt(256);
        }
        System.arraycopy(bytes, at, next, at + length, bytes.length - at);
      }
      bytes = next.length == 0 ? bytes : next;
    }
    return bytes;
  }

  /** Each is answered with a status below 500 in one JSON line, or its connection is closed. */
  @Test
  void request_ofRandomBytesHereAndThere_isNeverAServersError() throws IOException {
    RandomGenerator random = RandomGeneratorFactory.of("L64X128MixRandom").create(1);
    List<String> requests =
        List.of(
            HEALTH + "Connection: close\r\n\r\n",
            "HEAD /v1/models HTTP/1.0\r\n\r\n",
            Wire.post(
                "{\"prompt\": [1, 2], \"max_tokens\": 2, \"stop\": [\"a\"], \"n\": 1}",
                "Content-Length: 61\r\nConnection: close\r\n"),
            Wire.post(
                "1f\r\n{\"prompt\": \"a\", \"max_tokens\": 2}\r\n0\r\n\r\n",
                "Transfer-Encoding: chunked\r\nConnection: close\r\n"));
    try (TestServer server =
        TestServer.start(folder, limits -> limits, Wire.timeouts(2000, 20_000, 1000))) {
      for (int i = 0; i < 1_000; i++) {
        byte[] request =
            mutated(
                requests.get(i % requests.size()).getBytes(StandardCharsets.ISO_8859_1), random);
        String sent = new String(request, StandardCharsets.ISO_8859_1);
        try (Socket socket = Wire.connect(server)) {
          socket.getOutputStream().write(request);
          socket.shutdownOutput(); // a head or body that is too short has its end
          String answer;
          try {
            answer = new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
          } catch (SocketException e) {
            continue; // reset amid what it had sent too much
          }
          if (!answer.isEmpty()) {
            assertThat(answer).as(sent).matches("(?s)HTTP/1\\.1 [24].*");
            assertThat(answer).as(sent).doesNotContain("Exception", "\tat ");
          }
        }
      }
      assertThat(server.get("/health").statusCode()).isEqualTo(200);
      server.awaitIdle();
    }
  }
}
