package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
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

/** Pages of other sites, as browsers ask for them. */
@ExtendWith(OneThread.class)
final class CorsTest {
  private static final String ALLOWED = "Access-Control-Allow-Origin: ";

  @TempDir private static Path folder;
  private static TestServer server;

  private static TestServer start(String... origins) {
    return TestServer.start(
        folder,
        limits -> limits,
        TestOptions.with(
            new ServerOptions.Access(
                new ApiKeys(List.of(ApiKey.of("sesame"))),
                new HostNames("127.0.0.1", Set.of("model.example")),
                new AllowedOrigins(Set.of(origins)),
                Optional.empty())));
  }

  @BeforeAll
  static void start() {
    server = start("https://App.example:8443", "http://plain.example:80", "app://local");
  }

  @AfterAll
  static void stop() {
    server.close();
  }

  private static String answer(TestServer asked, String request, String headers)
      throws IOException {
    try (Socket socket = Wire.connect(asked)) {
      Wire.write(
          socket,
          "%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n\r\n"
              .formatted(request, headers));
      return new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  private static String preflight(TestServer asked, String origin, String method)
      throws IOException {
    return answer(
        asked,
        "OPTIONS /v1/chat/completions",
        """
        Origin: %s\r
        Access-Control-Request-Method: %s\r
        Access-Control-Request-Headers: authorization,content-type,x-stainless-os\
        """
            .formatted(origin, method));
  }

  @ParameterizedTest
  @CsvSource({
    "https://app.example:8443, true",
    "http://plain.example, true",
    "app://local, true",
    "https://app.example, false",
    "https://app.example:8444, false",
    "http://app.example:8443, false",
    "https://app.example:84430, false",
    "https://app.example:8443.evil.example, false",
    "https://evil.example/https://app.example:8443, false",
    "https://sub.app.example:8443, false",
    "https://plain.example, false",
    "http://plain.example:8080, false",
    "https://model.example, false",
    "null, false",
    "*, false",
    "https://app.example:8443 http://plain.example, false"
  })
  void preflight_withoutAKey_isAnsweredToTheExactOrigins(String origin, boolean allowed)
      throws IOException {
    String answer = preflight(server, origin, "POST");

    if (allowed) {
      assertThat(answer)
          .startsWith("HTTP/1.1 204")
          .contains(ALLOWED + origin + "\r\n", "Access-Control-Allow-Methods: GET, HEAD, POST, PUT")
          .contains("Access-Control-Allow-Headers: Authorization, *", "Vary: Origin");
    } else {
      assertThat(answer)
          .startsWith("HTTP/1.1 403")
          .contains("\"code\":\"origin_not_allowed\"", "Vary: Origin")
          .doesNotContain(ALLOWED);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"DELETE", "\"; drop", "POST,PUT", "LONG", "*", "<script>"})
  void preflight_ofAnOddMethod_isToldThoseThatThereAre(String method) throws IOException {
    assertThat(preflight(server, "http://plain.example", method.replace("LONG", "x".repeat(5000))))
        .startsWith("HTTP/1.1 204")
        .contains("Access-Control-Allow-Methods: GET, HEAD, POST, PUT\r\n");
  }

  @Test
  void options_thatIsNoPreflight_needsTheKey() throws IOException {
    assertThat(answer(server, "OPTIONS /v1/completions", "Origin: http://plain.example"))
        .startsWith("HTTP/1.1 401");
    assertThat(answer(server, "OPTIONS /v1/completions", "Access-Control-Request-Method: POST"))
        .startsWith("HTTP/1.1 401");
  }

  @Test
  void answer_toAnAllowedPage_canBeRead() throws IOException {
    for (String request : List.of("GET /v1/models", "GET /health", "GET /nowhere")) {
      assertThat(
              answer(
                  server,
                  request,
                  "Origin: https://app.example:8443\r\nAuthorization: Bearer sesame"))
          .contains(ALLOWED + "https://app.example:8443\r\n", "Vary: Origin")
          .contains("Access-Control-Expose-Headers: X-Request-Id, Retry-After");
    }
    assertThat(answer(server, "GET /v1/models", "Origin: https://app.example:8443"))
        .startsWith("HTTP/1.1 401")
        .contains(ALLOWED + "https://app.example:8443\r\n");
    assertThat(
            answer(
                server,
                "POST /v1/completions",
                "Origin: https://app.example:8443\r\nContent-Length: 99999999"))
        .startsWith("HTTP/1.1 413")
        .contains(ALLOWED + "https://app.example:8443\r\n");
    assertThat(answer(server, "GET /health", "X: y"))
        .contains("Vary: Origin")
        .doesNotContain(ALLOWED);
  }

  @Test
  void refusal_ofAForeignPage_namesTheOptionThatWorks() throws IOException {
    assertThat(answer(server, "GET /health", "Origin: http://localhost:3000"))
        .startsWith("HTTP/1.1 403")
        .contains("start it with --allow-origin http://localhost:3000\"");
    for (String odd : List.of("null", "http://a;rm -rf", "http://a/b", "x".repeat(3000))) {
      assertThat(answer(server, "GET /health", "Origin: " + odd))
          .startsWith("HTTP/1.1 403")
          .contains("with --allow-origin and its origin\"")
          .doesNotContain("--allow-origin " + odd);
    }
    try (TestServer named = start("http://localhost:3000")) {
      assertThat(answer(named, "GET /health", "Origin: http://localhost:3000"))
          .startsWith("HTTP/1.1 200");
    }
  }

  @Test
  void star_allowsAllPages() throws IOException {
    try (TestServer open = start("*")) {
      for (String origin : List.of("null", "https://any.example", "odd")) {
        assertThat(preflight(open, origin, "POST"))
            .startsWith("HTTP/1.1 204")
            .contains(ALLOWED + "*\r\n");
        assertThat(answer(open, "GET /v1/models", "Origin: " + origin))
            .startsWith("HTTP/1.1 401"); // the key is needed all the same
      }
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "app.example",
        "https://app.example/",
        "https://app.example/path",
        "null",
        "",
        "https://",
        "https://*.example",
        "https://user@app.example",
        "https://app.example:port",
        "//app.example"
      })
  void origin_thatIsNone_isRefused(String origin) {
    assertThatThrownBy(() -> new AllowedOrigins(Set.of(origin)))
        .isInstanceOf(SettingException.class)
        .hasMessage(
            "allow-origin: '%s' is no origin; give scheme, name and port alone, as in"
                + " https://app.example.com:8443, or * for all pages",
            origin);
  }
}
