package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/**
 * Paths that could be taken for others, as bytes: nobody moves the page for those who come next.
 */
@ExtendWith(OneThread.class)
final class PathsTest {
  private static final List<String> ODD =
      List.of(
          "//evil.example/..",
          "///evil.example/..",
          "//evil.example/..?x=y",
          "//evil.example/%2e%2e",
          "//evil.example",
          "//",
          "/x/..",
          "/x/../",
          "/x/.%2e",
          "/x/%2E%2e/",
          "/..",
          "/.",
          "/./",
          "/%2e%2e/",
          "/%2f%2fevil.example",
          "/%2F/evil.example/..",
          "/x%2f..",
          "/%252e%252e/",
          "/%252f%252fevil.example/..",
          "/%25252e%25252e/",
          "/\\evil.example/..",
          "/%5cevil.example/..",
          "/%255cevil.example/%2e%2e",
          "\\\\evil.example",
          "/;/..",
          "/..;x/",
          "/x/..;y",
          "/%3b/..",
          "/%3B",
          "/page.js/..",
          "/index.html/%2e%2e",
          "/../page.js",
          "/page.js/",
          "/v1/models/..",
          "/v1/../health",
          "http://evil.example/..",
          "http://evil.example//evil.example/..",
          "https:///..",
          "evil.example:80",
          "mailto:evil",
          "*",
          "/x%00/..",
          "/%");

  @TempDir private Path folder;

  private static String get(TestServer server, String target) throws IOException {
    try (Socket socket = Wire.connect(server)) {
      Wire.write(
          socket,
          "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".formatted(target));
      return new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  @Test
  void path_thatCouldBeTakenForAnother_isRefusedAndThePageStays() throws IOException {
    for (ServerOptions options : List.of(TestOptions.at(0), AccessTest.keys("open sesame"))) {
      try (TestServer server = TestServer.start(folder, limits -> limits, options)) {
        for (String target : ODD) {
          assertThat(get(server, target))
              .as(target)
              .matches("(?s)HTTP/1\\.1 40[014] .*")
              .containsPattern("\"type\":\"(invalid_request|authentication)_error\"")
              .doesNotContainIgnoringCase("location:");
          assertThat(get(server, "/"))
              .as("the page after " + target)
              .startsWith("HTTP/1.1 200")
              .contains("<title>eellm");
        }
        assertThat(get(server, "/page.js")).startsWith("HTTP/1.1 200");
      }
    }
  }
}
