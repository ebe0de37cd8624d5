package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.eellm.serve.access.HostNames;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** The blocks of docs/operate.md, in the proxies themselves. */
@ExtendWith(OneThread.class)
final class ProxyTest {
  private static final String NGINX =
      """
      daemon off;
      pid %1$s/nginx.pid;
      error_log %1$s/error.log;
      events {}
      http {
        access_log off;
        client_body_temp_path %1$s/body;
        proxy_temp_path %1$s/proxy;
        fastcgi_temp_path %1$s/fastcgi;
        uwsgi_temp_path %1$s/uwsgi;
        scgi_temp_path %1$s/scgi;
        %2$s
      }
      """;

  @TempDir private Path folder;

  /** A block of the page, between these ports. */
  private static String block(String language, int proxy, int server) throws IOException {
    Path root = Path.of("").toAbsolutePath();
    while (!Files.exists(root.resolve("docs/operate.md"))) {
      root = Objects.requireNonNull(root.getParent(), "a folder with docs/");
    }
    Matcher block =
        Pattern.compile("```" + language + "\n(.*?)```", Pattern.DOTALL)
            .matcher(Files.readString(root.resolve("docs/operate.md")));
    assertThat(block.find()).isTrue();
    return block
        .group(1)
        .replace("8080", Integer.toString(proxy))
        .replace("8000", Integer.toString(server));
  }

  private static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0)) {
      return socket.getLocalPort();
    }
  }

  private static Path tool(String name) {
    Optional<Path> found =
        Stream.concat(
                NodeScripts.find(name).stream(),
                Stream.of(Path.of("/usr/sbin", name)).filter(Files::isExecutable))
            .findFirst();
    assumeTrue(found.isPresent(), "skipped: needs " + name);
    return found.orElseThrow();
  }

  private TestServer start(ServerOptions options) {
    return TestServer.start(folder, limits -> limits, options);
  }

  private static ServerOptions named(String name) {
    ServerOptions.Access open = TestOptions.OPEN;
    return TestOptions.with(
        new ServerOptions.Access(
            open.keys(), new HostNames("127.0.0.1", Set.of(name)), open.origins(), open.tls()));
  }

  private void requireServed(List<String> command, int proxy) throws Exception {
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("proxy.log").toFile());
    builder.environment().put("XDG_CONFIG_HOME", folder.toString()); // what Caddy keeps
    builder.environment().put("XDG_DATA_HOME", folder.toString());
    Process process = builder.start();
    try (HttpClient client = HttpClient.newHttpClient()) {
      ServerLimitsTest.until(() -> listens(proxy) || !process.isAlive());
      assertThat(process.isAlive()).as(this::log).isTrue();
      for (String body : List.of(Wire.LONG, Wire.STREAM)) {
        HttpResponse<String> response =
            client.send(
                HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + proxy + "/v1/completions"))
                    .header("Content-Type", "application/json")
                    .header("Origin", "http://127.0.0.1:" + proxy)
                    .POST(BodyPublishers.ofString(body))
                    .build(),
                BodyHandlers.ofString());
        assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
        assertThat(response.body()).containsAnyOf("\"finish_reason\"", "[DONE]");
      }
      for (String[] nameAndStatus :
          new String[][] {{"model.example.com", "200"}, {"rebound.example", "403"}}) {
        try (Socket socket = new Socket("127.0.0.1", proxy)) {
          Wire.write(
              socket,
              "GET /v1/models HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
                  .formatted(nameAndStatus[0]));
          assertThat(Wire.firstLine(socket)).startsWith("HTTP/1.1 " + nameAndStatus[1]);
        }
      }
    } finally {
      process.destroy();
      process.waitFor();
    }
  }

  private String log() {
    try {
      return Files.readString(folder.resolve("proxy.log"));
    } catch (IOException e) {
      return e.toString();
    }
  }

  private static boolean listens(int port) {
    try (Socket socket = new Socket("127.0.0.1", port)) {
      return socket.isConnected();
    } catch (IOException e) {
      return false;
    }
  }

  private List<String> nginx(String server) throws IOException {
    Path nginx = tool("nginx");
    Path configuration =
        Files.writeString(folder.resolve("nginx.conf"), NGINX.formatted(folder, server));
    return List.of(
        nginx.toString(),
        "-e",
        folder.resolve("error.log").toString(),
        "-c",
        configuration.toString());
  }

  @Test
  void nginx_withThePagesBlock_passesTextsStreamsAndNames() throws Exception {
    int proxy = freePort();
    tool("nginx");
    try (TestServer server = start(named("model.example.com"))) {
      requireServed(nginx(block("nginx", proxy, server.server.port())), proxy);
      server.awaitIdle();
    }
  }

  @Test
  void nginx_withProxyPassAlone_speaksHttp10AndIsAnswered() throws Exception {
    int proxy = freePort();
    tool("nginx");
    try (TestServer server = start(named("model.example.com"))) {
      String plain =
          "server { listen %d; location / { proxy_pass http://127.0.0.1:%d; proxy_set_header Host $http_host; } }"
              .formatted(proxy, server.server.port());
      requireServed(nginx(plain), proxy);
      server.awaitIdle();
    }
  }

  @Test
  void caddy_withThePagesBlock_passesTextsStreamsAndNames() throws Exception {
    Path caddy = tool("caddy");
    int proxy = freePort();
    try (TestServer server = start(named("model.example.com"))) {
      String block = block("caddy", proxy, server.server.port());
      Path configuration =
          Files.writeString(folder.resolve("Caddyfile"), "{\n  admin off\n}\n" + block);
      requireServed(
          List.of(
              caddy.toString(),
              "run",
              "--adapter",
              "caddyfile",
              "--config",
              configuration.toString()),
          proxy);
      server.awaitIdle();
    }
  }
}
