package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.eellm.serve.TestServer.json;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import java.io.IOException;
import java.net.Socket;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.eellm.config.SettingException;
import org.eellm.serve.access.AllowedOrigins;
import org.eellm.serve.access.ApiKey;
import org.eellm.serve.access.ApiKeys;
import org.eellm.serve.access.HostNames;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.slf4j.LoggerFactory;

/** Who is answered: browsers' pages by their names, clients by their keys; and what is logged. */
@ExtendWith(OneThread.class)
final class AccessTest {
  @TempDir private static Path folder;
  private static TestServer server;

  /** The defaults with keys. */
  static ServerOptions keys(String... keys) {
    ServerOptions.Access open = TestOptions.OPEN;
    return TestOptions.with(
        new ServerOptions.Access(
            new ApiKeys(Stream.of(keys).map(ApiKey::of).toList()),
            open.hosts(),
            open.origins(),
            open.tls()));
  }

  @BeforeAll
  static void start() {
    server =
        TestServer.start(
            folder,
            limits -> limits,
            TestOptions.with(
                new ServerOptions.Access(
                    new ApiKeys(List.of(ApiKey.of("open sesame"), ApiKey.of("second"))),
                    new HostNames("127.0.0.1", Set.of("Model.example")),
                    AllowedOrigins.NONE,
                    Optional.empty())));
  }

  @AfterAll
  static void stop() {
    server.close();
  }

  private static String answer(String request, String headers) throws IOException {
    try (Socket socket = Wire.connect(server)) {
      Wire.write(socket, request + " HTTP/1.1\r\nConnection: close\r\n" + headers + "\r\n\r\n");
      return new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  private static int length(String answer) {
    return answer
        .lines()
        .filter(line -> line.startsWith("Content-Length: "))
        .mapToInt(line -> Integer.parseInt(line.substring("Content-Length: ".length())))
        .findFirst()
        .orElseThrow();
  }

  @ParameterizedTest
  @CsvSource({
    "rebound.example, 403",
    "rebound.example:8000, 403",
    "localhost.rebound.example, 403",
    "127.0.0.1.rebound.example, 403",
    "2130706433, 403",
    "model.example, 200",
    "MODEL.example.:8000, 200",
    "localhost, 200",
    "LOCALHOST:9, 200",
    "page.localhost:9, 200",
    "127.0.0.1:9, 200",
    "192.168.0.7, 200",
    "[::1]:9, 200",
    "[::1], 200"
  })
  void request_forAName_isAnsweredIfNoOtherSiteCanHaveIt(String host, int status)
      throws IOException {
    for (String path : List.of("/health", "/", "/metrics", "/v1/models")) {
      assertThat(answer("GET " + path, "Authorization: Bearer second\r\nHost: " + host))
          .as(path)
          .startsWith("HTTP/1.1 " + status);
    }
  }

  @Test
  void request_ofAReboundPage_neitherAsksNorReads() throws IOException {
    String body = "{\"prompt\": \"the cat\", \"max_tokens\": 2}";
    double before = server.engine.status().queued();

    String answer =
        answer(
            "POST /v1/completions",
            "Host: rebound.example:%1$d\r\nOrigin: http://rebound.example:%1$d\r\nContent-Type:"
                    .formatted(server.server.port())
                + " application/json\r\nContent-Length: %d\r\n\r\n%s"
                    .formatted(body.length(), body));

    assertThat(answer)
        .startsWith("HTTP/1.1 403")
        .contains("\"code\":\"host_not_allowed\"", "--allow-host")
        .doesNotContain("choices");
    assertThat(server.engine.status().queued()).isEqualTo((int) before);
  }

  @ParameterizedTest
  @CsvSource({
    "http://evil.example, 403",
    "null, 403",
    "http://localhost:3000, 403",
    "http://127.0.0.1, 403",
    "http://127.0.0.1:9999, 403",
    "not an origin, 403",
    "http://localhost, 200",
    "http://LOCALHOST, 200",
    "https://model.example, 403",
    "https://localhost:443, 403"
  })
  void request_ofAPage_isAnsweredIfThePageIsTheServersOwn(String origin, int status)
      throws IOException {
    assertThat(answer("GET /health", "Host: localhost\r\nOrigin: " + origin))
        .startsWith("HTTP/1.1 " + status);
  }

  @Test
  void request_ofAPageOfThisPort_isAnswered() throws IOException {
    String own = "127.0.0.1:" + server.server.port();

    assertThat(answer("GET /health", "Host: %s\r\nOrigin: http://%s".formatted(own, own)))
        .startsWith("HTTP/1.1 200");
    assertThat(answer("GET /health", "Host: %s\r\nOrigin: http://127.0.0.1:9".formatted(own)))
        .startsWith("HTTP/1.1 403")
        .contains(
            "\"code\":\"origin_not_allowed\"", "start it with --allow-origin http://127.0.0.1:9\"")
        .doesNotContain("--allow-host");
  }

  @ParameterizedTest
  @ValueSource(strings = {"localhost:3000", "[::1]:3000", "model.example:"})
  void hostName_withAPort_isRefused(String name) {
    assertThatThrownBy(() -> new HostNames("127.0.0.1", Set.of(name)))
        .isInstanceOf(SettingException.class)
        .hasMessage("allow-host: '%s' has a port; give the name alone, for all ports", name);
  }

  @ParameterizedTest
  @ValueSource(strings = {"Bearer open sesame", "bearer second", "BEARER   second"})
  void key_ofAny_isAdmittedWhateverTheLettersOfItsScheme(String authorization) {
    assertThat(
            server
                .send(server.request("/v1/models").header("Authorization", authorization).build())
                .statusCode())
        .isEqualTo(200);
  }

  @ParameterizedTest
  @ValueSource(strings = {"Bearer secon", "Bearer second2", "Bearer", "second", "Basic second"})
  void key_thatIsNone_isRefused(String authorization) {
    HttpResponse<String> response =
        server.send(server.request("/v1/models").header("Authorization", authorization).build());

    assertThat(response.statusCode()).isEqualTo(401);
    assertThat(response.headers().firstValue("WWW-Authenticate")).contains("Bearer");
  }

  @Test
  void answers_tellBrowsersToShowThemAlone() {
    for (String path : List.of("/", "/page.js", "/health", "/v1/models", "/nowhere")) {
      HttpResponse<String> response = server.get(path);
      assertThat(response.headers().firstValue("Content-Security-Policy").orElse(""))
          .as(path)
          .contains("default-src 'none'", "frame-ancestors 'none'");
      assertThat(response.headers().firstValue("X-Frame-Options")).contains("DENY");
      assertThat(response.headers().firstValue("X-Content-Type-Options")).contains("nosniff");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"req_1", "0af7651916cd43dd-8448eb211c80319c", "a:b/c=d+e@f.g"})
  void requestId_ofAClient_isItsAnswersToo(String id) throws IOException {
    for (String request : List.of("GET /health", "GET /v1/models", "GET /nowhere")) {
      assertThat(answer(request, "Host: localhost\r\nX-Request-Id: " + id))
          .as(request)
          .contains("X-Request-Id: " + id + "\r\n");
    }
  }

  @Test
  void requestId_thatIsNone_isMadeAnew() throws IOException {
    for (String id :
        List.of("", "a b", "x".repeat(129), "x".repeat(5000), "<b>", "a\tb", "a\u001b[31mb", "é")) {
      String answer = answer("GET /health", "Host: localhost\r\nX-Request-Id: " + id);
      assertThat(answer).as(id).containsPattern("X-Request-Id: [0-9a-f-]{36}\r\n");
      assertThat(id.isEmpty() || !answer.contains(id)).as(id).isTrue();
    }
    assertThat(answer("GET /health", "Host: localhost").lines())
        .filteredOn(line -> line.startsWith("X-Request-Id: "))
        .hasSize(1);
    assertThat(answer("G\0T /", "Host: localhost"))
        .containsPattern("X-Request-Id: [0-9a-f-]{36}\r\n");
  }

  @Test
  void head_isAnsweredAsGetWithoutTheBody() throws IOException {
    String key = "Host: localhost\r\nAuthorization: Bearer second";
    for (String path :
        List.of(
            "/health",
            "/health/live",
            "/health/ready",
            "/metrics",
            "/v1/models",
            "/v1/models/small",
            "/")) {
      String head = answer("HEAD " + path, key);
      String get = answer("GET " + path, key);

      assertThat(head).as(path).startsWith("HTTP/1.1 200").endsWith("\r\n\r\n");
      if (!path.equals("/metrics")) { // which counts these requests
        assertThat(length(head)).as(path).isEqualTo(length(get)).isPositive();
      }
    }
    assertThat(answer("HEAD /nowhere", key)).startsWith("HTTP/1.1 404").endsWith("\r\n\r\n");
    assertThat(answer("HEAD /v1/completions", key)).startsWith("HTTP/1.1 405").endsWith("\r\n\r\n");
  }

  @Test
  void refusal_isLoggedInOneLineWithoutTheRequestsContent() throws IOException {
    Logger log = (Logger) LoggerFactory.getLogger("org.eellm.serve");
    ListAppender<ILoggingEvent> lines = new ListAppender<>();
    lines.start();
    log.addAppender(lines);
    log.setLevel(Level.INFO);
    try {
      HttpResponse<String> refused =
          server.send(
              server
                  .request("/v1/completions?secret=1")
                  .header("Authorization", "Bearer second")
                  .header("Content-Type", "application/json")
                  .header("X-Request-Id", "of-a-client")
                  .POST(BodyPublishers.ofString("{\"prompt\": {\"secret\": \"secret\"}}"))
                  .build());
      answer("GET /v1/models", "Host: localhost\r\nX-Request-Id: two");
      answer("G\0T /secret", "Host: localhost");

      assertThat(json(refused).path("error").path("param").asText()).isEqualTo("prompt");
    } finally {
      log.setLevel(null);
      log.detachAppender(lines);
    }
    assertThat(
            lines.list.stream()
                .map(line -> line.getFormattedMessage().replaceFirst("[0-9a-f-]{36}", "UUID")))
        .containsExactly(
            "refused POST /v1/completions of 127.0.0.1: 400 prompt, request of-a-client",
            "refused GET /v1/models of 127.0.0.1: 401 invalid_api_key, request two",
            "refused a request of 127.0.0.1: 400 bad_request, request UUID");
  }
}
