package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.eellm.serve.TestServer.json;

import java.io.IOException;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import org.eellm.config.SettingException;
import org.eellm.serve.access.ApiKeys;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Keys with names and limits, from a file. */
@ExtendWith(OneThread.class)
final class KeysTest {
  @TempDir private Path folder;

  private ApiKeys keys(String lines) {
    try {
      return ApiKeys.read(Files.writeString(folder.resolve("keys"), lines));
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  private TestServer start(String lines) {
    ServerOptions.Access open = TestOptions.OPEN;
    return TestServer.start(
        folder,
        limits -> limits,
        TestOptions.with(
            new ServerOptions.Access(keys(lines), open.hosts(), open.origins(), open.tls())));
  }

  private static HttpRequest request(TestServer server, String key, String body) {
    return server
        .request("/v1/completions")
        .header("Content-Type", "application/json")
        .header("Authorization", "Bearer " + key)
        .POST(BodyPublishers.ofString(body))
        .build();
  }

  @Test
  void file_ofKeysNamesAndLimits_isRead() {
    ApiKeys keys =
        keys("# team keys\n  plain \n\nalice   a-key\nbob@example.com\tb-key 2\r\n#c c-key");

    assertThat(keys.keys()).hasSize(3);
    assertThat(keys.find("Bearer plain").orElseThrow().name()).isEmpty();
    assertThat(keys.find("Bearer a-key").orElseThrow().name()).isEqualTo("alice");
    assertThat(keys.find("Bearer b-key").orElseThrow().limit()).isEqualTo(2);
    for (String none : new String[] {"Bearer alice", "Bearer c-key", "Bearer 2", "Bearer ", ""}) {
      assertThat(keys.find(none)).isEmpty();
    }
    assertThat(keys.toString() + keys.keys()).doesNotContain("a-key");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "a secret word more",
        "alice secret 0",
        "alice secret -1",
        "alice secret two",
        "alice secret 99999999999",
        "al/ice secret",
        "alice:secret 2"
      })
  void file_lineThatIsNone_isRefusedByItsPlaceAlone(String line) {
    assertThatThrownBy(() -> keys("good\n\n" + line))
        .isInstanceOf(SettingException.class)
        .hasMessageContaining("line 3 is no key; write KEY, NAME KEY, or NAME KEY and")
        .hasMessageNotContaining("secret");
  }

  @ParameterizedTest
  @ValueSource(strings = {"one", "bob one", "alice two"})
  void file_keyOrNameTwice_isRefused(String line) {
    assertThatThrownBy(() -> keys("alice one\n" + line))
        .isInstanceOf(SettingException.class)
        .hasMessageContaining("line 2 has the key or the name of a line above; give each once");
  }

  @Test
  void key_withAsManyRequestsAsItMay_is429AndOthersAreAnswered() {
    try (TestServer server = start("alice a-key 1\nbob b-key 1\nplain")) {
      CompletableFuture<HttpResponse<String>> running;
      try (ServerLimitsTest.Brake _ = ServerLimitsTest.Brake.on(server)) {
        running =
            server.client.sendAsync(request(server, "a-key", Wire.STREAM), BodyHandlers.ofString());
        ServerLimitsTest.until(() -> server.engine.status().queued() == 1);

        HttpResponse<String> refused = server.send(request(server, "a-key", Wire.LONG));
        assertThat(refused.statusCode()).isEqualTo(429);
        assertThat(refused.headers().firstValue("Retry-After")).contains("1");
        assertThat(json(refused).path("error").path("code").asText()).isEqualTo("key_limit");
        assertThat(json(refused).path("error").path("message").asText())
            .isEqualTo(
                "'alice' has 1 requests in work, as many as it may; try again when one is done");
        for (String other : new String[] {"b-key", "plain"}) {
          assertThat(server.send(request(server, other, "{}")).statusCode()).isEqualTo(400);
        }
      }
      assertThat(running.join().statusCode()).isEqualTo(200);
      assertThat(server.send(request(server, "a-key", Wire.LONG)).statusCode()).isEqualTo(200);

      String metrics =
          server
              .send(server.request("/metrics").header("Authorization", "Bearer plain").build())
              .body();
      assertThat(metrics.lines())
          .contains(
              "eellm_key_requests_total{key=\"alice\",status=\"200\"} 2.0",
              "eellm_key_requests_total{key=\"alice\",status=\"429\"} 1.0",
              "eellm_key_requests_total{key=\"bob\",status=\"400\"} 1.0")
          .noneMatch(line -> line.contains("-key"));
    }
  }

  @Test
  void key_whoseClientGoes_getsItsPlaceBack() throws IOException {
    try (TestServer server = start("alice a-key 1")) {
      try (ServerLimitsTest.Brake _ = ServerLimitsTest.Brake.on(server)) {
        try (var socket = Wire.connect(server)) {
          Wire.write(
              socket,
              Wire.post(
                  Wire.LONG,
                  "Authorization: Bearer a-key\r\nContent-Length: %d\r\n"
                      .formatted(Wire.LONG.length())));
          ServerLimitsTest.until(() -> server.engine.status().queued() == 1);
          assertThat(server.send(request(server, "a-key", "{}")).statusCode()).isEqualTo(429);
        }
        ServerLimitsTest.until(
            () -> server.send(request(server, "a-key", "{}")).statusCode() == 400);
      }
    }
  }
}
